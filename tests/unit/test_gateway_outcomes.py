"""Hearing what became of a gift: from the tail, whichever gateway took it, for that gift alone."""

import asyncio
from typing import Any

import pytest

from engagement.domain import limits
from engagement.domain.events import Decided
from engagement.domain.gift_events import GiftSent
from engagement.domain.ledger import RequestKey, Settled
from engagement.domain.requests import GiftOrder, GiftSend
from engagement.domain.rooms import NO_STAMP
from engagement.gateway.outcomes import Outcome, Outcomes, Waiter
from engagement.gateway.settlements import Settlements, body_mark
from tests.unit.gateway_parts import FakeLedger
from tests.waiting import until

ID = "0197a5c0-0000-7000-8000-00000000000a"
PAID = Outcome("paid")
REUSED = Outcome("refused", "id_reused")


class Waiting:
    """Outcomes, and what was told."""

    def __init__(self) -> None:
        self.ledger = FakeLedger()
        self.outcomes = Outcomes(Settlements(self.ledger))
        self.told: list[tuple[RequestKey, Outcome]] = []

    def expect(
        self, account: str = "ben", request_id: str = ID, room: str = "kitchen", **order: Any
    ) -> Waiter:
        gift = GiftSend(id=request_id, data=GiftOrder(**{"gift": "rose", **order}))
        waiter = Waiter(account, room, gift, lambda key, outcome: self.told.append((key, outcome)))
        self.outcomes.expect(waiter)
        return waiter

    def sent(
        self, actor: str = "ben", request: str = ID, room: str = "kitchen", count: int = 1
    ) -> None:
        data = GiftSent("rose", "Rose", 1, "rose", count, 5, 5 * count, 2, "ana", "0-1", "s")
        self.outcomes.gift_sent(
            Decided("gift.sent", request, room, 1, NO_STAMP, data, actor, request)
        )

    async def heard(self) -> bool:
        """Whether anybody was told anything."""
        return bool(self.told)

    @property
    def outcomes_told(self) -> list[Outcome]:
        return [outcome for _, outcome in self.told]


@pytest.fixture
async def waiting() -> Waiting:
    return Waiting()


async def test_a_paid_gift_is_told_to_all_who_wait_for_it_once(waiting: Waiting) -> None:
    waiting.expect()
    waiting.expect()
    waiting.sent()
    waiting.sent()
    assert waiting.told == [(("ben", ID), PAID)] * 2


async def test_a_refusal_is_told_with_its_code(waiting: Waiting) -> None:
    waiting.expect()
    waiting.outcomes.refused("ben", ID, "insufficient_funds")
    await until(waiting.heard)
    assert waiting.outcomes_told == [Outcome("refused", "insufficient_funds")]


async def test_a_refusal_is_told_to_whoever_it_means_and_not_to_who_reused_its_id(
    waiting: Waiting,
) -> None:
    """The first was refused, and its refusal is read while the second waits."""
    waiting.expect(count=6)
    first = Waiter("ben", "kitchen", GiftSend(id=ID, data=GiftOrder("rose", 5)), lambda *_: None)
    waiting.ledger.stored[first.key] = Settled(first.mark(), "refused", 1, "insufficient_funds")
    waiting.outcomes.refused("ben", ID, "insufficient_funds")
    await until(waiting.heard)
    assert waiting.outcomes_told == [REUSED]


async def test_the_same_id_of_somebody_else_is_another_gift(waiting: Waiting) -> None:
    waiting.expect("cy")
    waiting.sent("ben")
    waiting.outcomes.refused("ben", ID, "insufficient_funds")
    assert waiting.told == []


@pytest.mark.parametrize("other", [{"count": 2}, {"room": "garden"}])
async def test_another_gift_under_the_same_id_is_no_payment(
    waiting: Waiting, other: dict[str, Any]
) -> None:
    waiting.expect()
    waiting.sent(**other)
    assert waiting.outcomes_told == [REUSED]


async def test_who_does_not_wait_any_more_is_not_told(waiting: Waiting) -> None:
    leaves = waiting.expect()
    waiting.expect()
    waiting.outcomes.forget(leaves)
    waiting.outcomes.forget(leaves)
    waiting.sent()
    assert len(waiting.told) == 1


async def test_a_reused_id_is_told_to_whoever_reused_it_and_not_to_the_other(
    waiting: Waiting,
) -> None:
    """Two bodies raced under one id; the ledger paid the first and refused the second. The
    refusal names only the id, and may be read before the payment."""
    first = waiting.expect(count=1)
    waiting.expect(count=2)
    waiting.ledger.stored[first.key] = Settled(first.mark(), "paid", 1)
    waiting.outcomes.refused("ben", ID, "id_reused")

    async def both_told() -> bool:
        return len(waiting.told) == 2

    await until(both_told)
    assert waiting.outcomes_told == [PAID, REUSED]


async def test_a_reused_id_is_left_open_while_the_database_is_away(waiting: Waiting) -> None:
    waiting.expect()
    waiting.ledger.away = True
    waiting.outcomes.refused("ben", ID, "id_reused")

    async def asked() -> bool:
        return bool(waiting.ledger.queries)

    await until(asked)
    await asyncio.sleep(0)
    assert waiting.told == []
    waiting.sent()
    assert waiting.outcomes_told == [PAID]


async def test_so_many_are_waited_for_and_no_more(
    waiting: Waiting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "OUTCOMES_AWAITED_MAX", 2)
    for number in range(3):
        waiting.expect(f"user-{number}")
    for number in range(3):
        waiting.sent(f"user-{number}")
    assert [key[0] for key, _ in waiting.told] == ["user-1", "user-2"]


def test_the_mark_of_a_gift_is_the_one_that_the_ledger_stores() -> None:
    from engagement.domain.ledger import fingerprint
    from engagement.domain.ledger_requests import MoneyAsked

    gift = GiftSend(id=ID, data=GiftOrder("rose", 3, combo="c"))
    asked = MoneyAsked("ben", "ben", "viewer", 7, gift, "kitchen", "ana", "g/1", 2, 3, "t")
    assert body_mark("ben", "kitchen", gift) == fingerprint(asked)
