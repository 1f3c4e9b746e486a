"""A partition's ledger once more, from its requests alone: the same decisions by the same decider.

Everything is in memory here, where the processor loads as much of the books as a batch needs: what
comes out equal both ways does not depend on how requests fell into batches.
"""

from collections.abc import Iterator
from typing import Final, Protocol

from msgspec import Struct

from engagement.domain import ledger
from engagement.domain.ledger import Books, Decision, RequestKey, key_of
from engagement.domain.ledger_events import TransferReason
from engagement.domain.ledger_telling import Told, tell
from engagement.log.money_codec import read_money_requests

_SPENT: Final[dict[TransferReason, int]] = {
    "gift": 1, "house_share": 1, "hold": 1, "reversal": -1, "purchase": 0, "promotion": 0
}  # fmt: skip


class _Record(Protocol):
    @property
    def offset(self) -> int: ...
    @property
    def value(self) -> bytes | None: ...


class Derived(Struct, frozen=True):
    """What one request made."""

    offset: int
    decision: Decision
    told: Told


class Derivation:
    """The books of one partition, and from which offset each of their rows is."""

    def __init__(self, partition: int, partitions: int) -> None:
        self._partitions = partitions
        self.books = Books(partition)
        self.offset_of_request: dict[RequestKey, int] = {}
        self.offset_of_account: dict[str, int] = {}
        self.offset_of_hold: dict[RequestKey, int] = {}
        self.spent = 0
        """Coins that wallets paid for gifts and holds, reversals taken off."""
        self.requests = 0
        self.poison = 0

    def take(self, record: _Record) -> Iterator[Derived]:
        """Decide and book what is asked in a record. Raises BrokenInvariantError."""
        envelope, poison = read_money_requests(record.value, self.books.partition, self._partitions)
        self.poison += len(poison)
        if envelope is None:
            return
        for asked in envelope.asks:
            decision = ledger.decide(self.books, envelope, asked)
            ledger.post(self.books, decision)
            self._remember(record.offset, decision)
            self.requests += 1
            yield Derived(record.offset, decision, tell(self.books.partition, decision))

    def _remember(self, offset: int, decision: Decision) -> None:
        if decision.settled is not None:
            self.offset_of_request[key_of(decision.asked)] = offset
        if decision.reverses is not None:
            self.offset_of_request[decision.reverses[0]] = offset
        for transfer in decision.transfers:
            self.spent += _SPENT[transfer.reason] * transfer.coins
            self.offset_of_account[transfer.debit] = offset
            self.offset_of_account[transfer.credit] = offset
        for hold in decision.holds:
            self.offset_of_account[ledger.wallet(hold.account)] = offset
            self.offset_of_hold[hold.account, hold.hold] = offset
