"""What a run leaves behind about money, beside the files of `tests.faults.evidence`.

``ledger.jsonl``, ``battle.jsonl``  the topics, whole: p, o, k, v
``history.jsonl``  has, told apart by ``k``:
    ``deposit``   id, account, coins, at: coins are about to be bought
    ``deposited`` id, at: and the platform was told that they are
    ``battle``    id, rooms, duration_s: a battle was started, as its hosts were told
``wallets.jsonl``, ``earnings.jsonl``, ``leaders.jsonl``, ``battles.jsonl``  what HTTP says in the
    end
"""

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct, field

from tests.faults import evidence as everything
from tests.faults.evidence import Ask, Evidence, Fact, Record

from .plan import HOST_SHARE_PERCENT, PRICES

_UNIX_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Deposit(Struct):
    """Coins that the platform bought for somebody."""

    id: str
    account: str
    coins: int
    told: bool = False
    """Somebody has answered that they are in the wallet."""


class MoneyEvidence(Struct):
    """Everything of a run that has to do with money."""

    run: Evidence
    gifts: dict[str, Ask]
    deposits: dict[str, Deposit]
    ledger: list[Record]
    """Every record, repeats too, partition by partition."""
    battle: list[Record]
    wallets: dict[str, dict[str, Any]]
    earnings: dict[str, dict[str, Any]]
    leaders: dict[str, dict[str, Any]]
    battles: dict[str, dict[str, Any]]
    hosts_of: dict[str, str]
    """Room → its host."""
    fought: list[str]
    """Battles that were started."""
    unix_us_at_0: int = 0
    """The wall time at which the run's own clock was 0."""
    of_rooms: dict[str, list[Fact]] = field(default_factory=dict)
    """Facts by type, as a consumer sees them that drops every id that it has seen."""
    of_ledger: dict[str, list[Fact]] = field(default_factory=dict)
    of_battles: dict[str, list[Fact]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.of_rooms = _by_type(self.run.room_log)
        self.of_ledger = _by_type(self.ledger)
        self.of_battles = _by_type(self.battle)


class Anomaly(Struct, frozen=True):
    """A broken promise."""

    check: str
    about: str
    detail: str


def load(directory: Path, run: Evidence) -> MoneyEvidence:
    """Read the files about money of a run directory."""
    made = MoneyEvidence(
        run=run,
        gifts={ask.id: ask for ask in run.asks.values() if ask.type == "gift.send"},
        deposits={},
        ledger=everything.records(directory / "ledger.jsonl"),
        battle=everything.records(directory / "battle.jsonl"),
        wallets=_by(directory / "wallets.jsonl", "account"),
        earnings=_by(directory / "earnings.jsonl", "host"),
        leaders=_by(directory / "leaders.jsonl", "room"),
        battles=_by(directory / "battles.jsonl", "battle"),
        hosts_of={name: room["host"] for name, room in run.rooms.items()},
        fought=[],
        unix_us_at_0=run.run.get("unix_us_at_0", 0),
    )
    for line in _lines(directory / "history.jsonl"):
        if line["k"] == "deposit":
            made.deposits[line["id"]] = msgspec.convert(line, Deposit)
        elif line["k"] == "deposited":
            made.deposits[line["id"]].told = True
        elif line["k"] == "battle":
            made.fought.append(line["id"])
    return made


def price_of(gift: Ask) -> int:
    """What a gift costs, as the run has put it into the catalogue."""
    return int(PRICES[gift.data["gift"]] * gift.data["count"])


def share_of(coins: int) -> int:
    """What the host earns of it."""
    return coins * HOST_SHARE_PERCENT // 100


def unix_us(time: str) -> int:
    """An RFC 3339 time, in µs."""
    return (datetime.fromisoformat(time) - _UNIX_EPOCH) // timedelta(microseconds=1)


def _by_type(records: list[Record]) -> dict[str, list[Fact]]:
    firsts: dict[str, Fact] = {}
    for record in records:
        if record.fact is not None:
            firsts.setdefault(record.fact.id, record.fact)
    found: dict[str, list[Fact]] = defaultdict(list)
    for fact in firsts.values():
        found[fact.type].append(fact)
    return found


def _lines(path: Path) -> list[dict[str, Any]]:
    with path.open("rb") as file:
        return [msgspec.json.decode(line) for line in file]


def _by(path: Path, name: str) -> dict[str, dict[str, Any]]:
    return {line[name]: line for line in _lines(path)}
