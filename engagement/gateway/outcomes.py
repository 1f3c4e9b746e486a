"""Who waits for what becomes of a gift, and how they hear of it.

A gift is accepted when the log has it and decided a moment later, by the ledger. Its outcome comes
back by the tail: a `gift.sent` of the room or a `request.refused` of the activity, whichever
gateway took the gift. Whoever wants to know says so before the gift is looked up and written, so
nothing that happens in between is missed.
"""

import asyncio
from collections.abc import Callable
from typing import Final, Literal

import structlog
from msgspec import Struct

from engagement.domain import limits
from engagement.domain.events import Decided
from engagement.domain.ledger import RequestKey, Settled
from engagement.domain.requests import GiftSend
from engagement.gateway import metrics
from engagement.gateway.settlements import Settlements, body_mark

log = structlog.get_logger()


class Outcome(Struct, frozen=True):
    """What became of a gift."""

    status: Literal["paid", "refused"]
    code: str = ""


ID_REUSED: Final = Outcome("refused", "id_reused")


def outcome_of(settled: Settled) -> Outcome:
    """What the ledger has stored of a gift."""
    return Outcome("refused", settled.code) if settled.status == "refused" else Outcome("paid")


class Waiter:
    """One who waits for one gift."""

    __slots__ = ("_told", "gift", "key", "room")

    def __init__(
        self,
        account: str,
        room: str,
        gift: GiftSend,
        told: Callable[[RequestKey, Outcome], None],
    ) -> None:
        self.key: RequestKey = (account, gift.id)
        self.room = room
        self.gift = gift
        self._told = told

    def tell(self, outcome: Outcome) -> None:
        """It is known now."""
        self._told(self.key, outcome)

    def asked_for(self, fact: Decided) -> bool:
        """Whether a gift that was sent under the same id is the one that is waited for."""
        order = self.gift.data
        return (fact.room, fact.data.gift, fact.data.count) == (
            self.room, order.gift, order.count,
        )  # fmt: skip

    def mark(self) -> bytes:
        """The fingerprint of what is waited for."""
        return body_mark(self.key[0], self.room, self.gift)


class Outcomes:
    """All who wait at this gateway, by (account, request id)."""

    def __init__(self, settlements: Settlements) -> None:
        self._settlements = settlements
        self._waiting: dict[RequestKey, list[Waiter]] = {}
        self._looking: set[asyncio.Task[None]] = set()

    def expect(self, waiter: Waiter) -> None:
        """Tell this one. The oldest is not told any more when too many wait."""
        self._waiting.setdefault(waiter.key, []).append(waiter)
        if len(self._waiting) > limits.OUTCOMES_AWAITED_MAX:
            del self._waiting[next(iter(self._waiting))]

    def forget(self, waiter: Waiter) -> None:
        """This one does not wait any more."""
        waiting = self._waiting.get(waiter.key)
        if waiting is not None and waiter in waiting:
            waiting.remove(waiter)
            if not waiting:
                del self._waiting[waiter.key]

    def gift_sent(self, fact: Decided) -> None:
        """A gift was paid."""
        for waiter in self._waiting.pop((str(fact.actor), str(fact.cause)), ()):
            waiter.tell(Outcome("paid") if waiter.asked_for(fact) else ID_REUSED)

    def refused(self, actor: str, request: str, code: str) -> None:
        """A gift was refused. The refusal does not say which of two requests with this id it means,
        the ledger does: it has committed before it told us."""
        key = (actor, request)
        if key not in self._waiting:
            return
        task = asyncio.create_task(self._tell_apart(key, code))
        self._looking.add(task)
        task.add_done_callback(self._looking.discard)

    async def _tell_apart(self, key: RequestKey, code: str) -> None:
        found = await self._settlements.find([key])
        if found is None or (key not in found and code == ID_REUSED.code):
            return  # Whoever waits asks again, or hears of it by what is still to come.
        settled = found.get(key)
        for waiter in self._waiting.pop(key, ()):
            if settled is None:
                waiter.tell(Outcome("refused", code))
            else:
                same = waiter.mark() == settled.fingerprint
                waiter.tell(outcome_of(settled) if same else ID_REUSED)

    async def stop(self) -> None:
        """Nobody is told any more."""
        for task in list(self._looking):
            task.cancel()
        self._waiting.clear()

    def measure(self) -> None:
        """Set the gauge."""
        metrics.OUTCOMES_AWAITED.set(len(self._waiting))
