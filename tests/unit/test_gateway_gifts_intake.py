"""Taking gifts in: priced by the server, refused for what is plain, answered as before."""

import asyncio
import uuid
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from msgspec import UNSET

from engagement.domain import limits
from engagement.domain.catalogue import GiftTerms, PricedGift
from engagement.domain.ledger import RequestKey, Settled
from engagement.domain.requests import GiftOrder, GiftSend, Role
from engagement.errors import UnavailableError
from engagement.gateway.gifts_intake import applied_wait_s, gifts_in
from engagement.gateway.intake import Submission
from engagement.gateway.requests_json import parse
from engagement.gateway.settlements import body_mark
from engagement.log.topics import partition_of
from engagement.settings import Settings
from engagement.tokens import Principal
from tests.unit.gateway_parts import FakeLog, IntakeParts, open_room, sell

ID = "0197a5c0-0000-7000-8000-00000000000a"


class Counter:
    """Where gifts are bought: an intake with its log and a catalogue of roses."""

    def __init__(self, **settings: Any) -> None:
        self.log = FakeLog()
        self.parts = IntakeParts(self.log, Settings(user_requests_per_s=1_000, **settings))
        self.room = open_room()
        sell(self.parts.catalogue, "rose", coins=5)

    def send(
        self,
        *requests: dict[str, Any],
        user: str = "ben",
        role: Role = "viewer",
        stored: Mapping[RequestKey, Settled] | None = UNSET,  # type: ignore[assignment]
    ) -> Submission:
        return self.parts.intake.submit(
            Principal(user, role, None),
            self.room,
            parse(msgspec.json.encode(list(requests))),
            address="127.0.0.1",
            session="g/1",
            stored={} if stored is UNSET else stored,
        )

    async def look_up(self, *requests: dict[str, Any]) -> None:
        """What comes before `send`."""
        asked = gifts_in(
            parse(msgspec.json.encode(list(requests))), Principal("ben", "viewer", None)
        )
        await self.parts.gifts.stored(asked)

    def written(self) -> list[Any]:
        """What the ledger is asked."""
        self.parts.money.flush()
        return [asked for envelope in self.log.money_envelopes for asked in envelope.asks]


@pytest.fixture
async def counter() -> Counter:
    return Counter()


def gift(request_id: str | None = None, *, actor: str | None = None, **data: Any) -> dict[str, Any]:
    request: dict[str, Any] = {
        "id": request_id or str(uuid.uuid4()),
        "type": "gift.send",
        "data": {"gift": "rose", **data},
    }
    return request if actor is None else {**request, "actor": actor}


def outcomes(submission: Submission) -> list[str]:
    return [result.code or result.status for result in submission.results]


def settled(status: Any, code: str = "", **data: Any) -> dict[RequestKey, Settled]:
    """The ledger has this outcome of ben's request `ID`."""
    request = GiftSend(id=ID, data=GiftOrder("rose", **data))
    return {("ben", ID): Settled(body_mark("ben", "kitchen", request), status, 1, code)}


async def test_a_gift_is_priced_by_the_catalogue_and_goes_to_its_accounts_partition(
    counter: Counter,
) -> None:
    assert outcomes(counter.send(gift(count=3))) == ["accepted"]
    [asked] = counter.written()
    assert (asked.account, asked.actor, asked.role) == ("ben", "ben", "viewer")
    assert (asked.room, asked.host, asked.session) == ("kitchen", "ana", "g/1")
    [(partition, _)], [envelope] = counter.log.money, counter.log.money_envelopes
    assert partition == partition_of("ben", 8)
    assert envelope.terms[asked.terms].terms.coins == 5
    assert counter.log.records == []


async def test_a_price_that_the_client_names_is_refused(counter: Counter) -> None:
    [result] = counter.send(gift(coins=1)).results
    assert (result.code, result.field) == ("bad_request", "$.data.coins")


@pytest.mark.parametrize("count", [0, -1, limits.GIFT_COUNT_MAX + 1, 2**63, 1.5, "3", None])
async def test_a_count_out_of_bounds_is_refused_by_name(counter: Counter, count: Any) -> None:
    [result] = counter.send(gift(count=count)).results
    assert (result.status, result.code, result.field) == (
        "rejected",
        "bad_request",
        "$.data.count",
    )
    assert counter.written() == []


async def test_the_largest_count_is_taken(counter: Counter) -> None:
    assert outcomes(counter.send(gift(count=limits.GIFT_COUNT_MAX))) == ["accepted"]


@pytest.mark.parametrize(
    ("request_", "user", "code", "field"),
    [
        (gift(gift="dragon"), "ben", "unknown_gift", "$.data.gift"),
        (gift(to="cy"), "ben", "unknown_recipient", "$.data.to"),
        (gift(), "ana", "self_gift", UNSET),
        (gift(to="ana"), "ana", "self_gift", UNSET),
        (gift(actor="cy"), "ben", "foreign_actor", UNSET),
        (gift(combo="a\x00b"), "ben", "bad_request", "$.data.combo"),
    ],
)
async def test_what_nobody_can_pay_is_refused_at_once(
    counter: Counter, request_: dict[str, Any], user: str, code: str, field: Any
) -> None:
    await counter.look_up(request_)
    [result] = counter.send(request_, user=user).results
    assert (result.status, result.code, result.field) == ("rejected", code, field)
    assert counter.written() == []


async def test_a_gift_that_only_the_ledger_knows_yet_is_learnt_and_sold(counter: Counter) -> None:
    counter.parts.ledger.catalogued = [PricedGift(3, GiftTerms("dragon", "Dragon", 900))]
    await counter.look_up(gift(gift="dragon"))
    assert outcomes(counter.send(gift(gift="dragon"))) == ["accepted"]
    counter.written()
    [envelope] = counter.log.money_envelopes
    assert [(each.version, each.terms.coins) for each in envelope.terms] == [(3, 900)]


async def test_while_the_ledger_cannot_be_asked_no_gift_is_called_unknown(
    counter: Counter,
) -> None:
    """The same request may have been paid before, by a gateway that knew the gift."""
    counter.parts.ledger.away = True
    await counter.look_up(gift(gift="dragon"))
    assert outcomes(counter.send(gift(gift="dragon"))) == ["catalogue_unavailable"]


async def test_a_made_up_name_is_asked_for_once_by_whoever_comes(counter: Counter) -> None:
    await asyncio.gather(*(counter.look_up(gift(gift="dragon")) for _ in range(20)))
    await counter.look_up(gift(gift="dragon"), gift(gift="wyvern"), gift())
    assert counter.parts.ledger.priced_queries == [["dragon"], ["wyvern"]]


async def test_a_gift_that_is_not_sold_any_more_is_unknown(counter: Counter) -> None:
    sell(counter.parts.catalogue, "rose", version=2, offered=False)
    assert outcomes(counter.send(gift())) == ["unknown_gift"]


async def test_a_closed_room_and_a_ban_refuse_gifts(counter: Counter) -> None:
    counter.room.banned.add("ben")
    assert outcomes(counter.send(gift())) == ["banned"]
    counter.room.status = "closed"
    assert outcomes(counter.send(gift(), user="cy")) == ["room_closed"]


async def test_a_muted_viewer_may_give(counter: Counter) -> None:
    counter.room.muted_until_us["ben"] = 1 << 60
    assert outcomes(counter.send(gift())) == ["accepted"]


async def test_a_batch_may_mix_gifts_and_comments_and_waits_for_both_topics(
    counter: Counter,
) -> None:
    comment = {"id": str(uuid.uuid4()), "type": "comment.post", "data": {"text": "hi"}}
    submission = counter.send(gift(), comment, gift(count=0))
    assert outcomes(submission) == ["accepted", "accepted", "bad_request"]
    counter.parts.money.flush()
    assert len(submission.flushes) == 2
    assert (len(counter.log.records), len(counter.log.money)) == (1, 1)


async def test_a_service_sends_in_the_name_of_its_users_from_their_wallets(
    counter: Counter,
) -> None:
    users = [f"user-{number}" for number in range(20)]
    submission = counter.send(*[gift(actor=user) for user in users], user="app", role="service")
    assert outcomes(submission) == ["accepted"] * 20
    assert sorted(asked.account for asked in counter.written()) == sorted(users)
    assert {partition for partition, _ in counter.log.money} == {
        partition_of(user, 8) for user in users
    }


async def test_a_ban_holds_whoever_carries_the_gift(counter: Counter) -> None:
    counter.room.banned.add("ben")
    assert outcomes(counter.send(gift(actor="ben"), user="app", role="service")) == ["banned"]


async def test_gifts_have_a_rate_of_their_own_for_everybody_but_a_service() -> None:
    counter = Counter(user_gifts_per_s=1)
    submission = counter.send(*[gift() for _ in range(5)])
    assert outcomes(submission) == ["accepted"] * 3 + ["rate_limited"] * 2
    assert submission.retry_after_s == pytest.approx(1, abs=0.1)
    assert (
        outcomes(counter.send(*[gift() for _ in range(5)], user="app", role="service"))
        == ["accepted"] * 5
    )


# --- repeats -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("status", "code"), [("paid", UNSET), ("refused", "insufficient_funds")])
async def test_a_gift_that_was_decided_is_a_duplicate_with_its_stored_outcome(
    counter: Counter, status: Any, code: Any
) -> None:
    submission = counter.send(gift(ID), stored=settled(status, code or ""))
    [result] = submission.results
    assert (result.status, result.outcome, result.code) == ("duplicate", status, code)
    assert counter.written() == []


async def test_a_stored_id_with_another_body_is_refused(counter: Counter) -> None:
    for other in (gift(ID, count=2), gift(ID, gift="dragon"), gift(ID, to="ana")):
        assert outcomes(counter.send(other, stored=settled("paid"))) == ["id_reused"]
    assert counter.written() == []


async def test_a_stored_id_is_the_same_in_any_case_and_told_as_it_was_sent(
    counter: Counter,
) -> None:
    [result] = counter.send(gift(ID.upper()), stored=settled("paid")).results
    assert (result.id, result.status) == (ID.upper(), "duplicate")


async def test_a_stored_outcome_stands_whatever_has_changed_since(counter: Counter) -> None:
    counter.room.status = "closed"
    sell(counter.parts.catalogue, "rose", version=2, offered=False)
    assert outcomes(counter.send(gift(ID), stored=settled("paid"))) == ["duplicate"]


async def test_the_same_id_of_somebody_else_is_another_request(counter: Counter) -> None:
    assert outcomes(counter.send(gift(ID), user="cy", stored=settled("paid"))) == ["accepted"]


async def test_a_repeat_that_is_on_its_way_is_a_duplicate_without_an_outcome(
    counter: Counter,
) -> None:
    first = counter.send(gift(ID))
    [result] = counter.send(gift(ID)).results
    assert (result.status, result.outcome) == ("duplicate", UNSET)
    assert outcomes(counter.send(gift(ID, count=2))) == ["id_reused"]
    assert first.flushes.keys() == counter.send(gift(ID)).flushes.keys()
    assert len(counter.written()) == 1


async def test_a_gift_that_the_log_did_not_take_may_be_sent_again(counter: Counter) -> None:
    first = counter.send(gift(ID))
    counter.parts.money.flush()
    counter.log.fail()
    with pytest.raises(UnavailableError):
        await first.acknowledged()
    assert outcomes(counter.send(gift(ID))) == ["accepted"]


async def test_without_the_database_gifts_are_taken_but_no_refusal_is_definite(
    counter: Counter,
) -> None:
    submission = counter.send(gift(), gift(gift="dragon"), gift(count=0), stored=None)
    assert outcomes(submission) == ["accepted", "database_unavailable", "bad_request"]


# --- waiting -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prefer", "wait_s"),
    [
        ("", 0),
        ("wait=5", 5),
        ("WAIT = 5", 5),
        ('wait="5"', 5),
        ("respond-async, wait=10", 10),
        ("wait=5; x=y, wait=7", 5),
        ("return=minimal", 0),
        ("wait", 0),
        ("wait=", 0),
        ("wait=-1", 0),
        ("wait=1.5", 0),
        ("wait=٣", 0),
        ("wait=0", 0),
        ("wait=999999999999999999999", limits.OUTCOME_WAIT_S_MAX),
        ("waiting=5", 0),
    ],
)
def test_how_long_a_sender_wants_to_wait(prefer: str, wait_s: float) -> None:
    assert applied_wait_s(prefer) == wait_s


def test_the_gifts_of_a_body_are_found_with_their_senders_and_normal_ids() -> None:
    body = [gift(ID.upper()), {"id": "x"}, gift(actor="cy")]
    sent = gifts_in(parse(msgspec.json.encode(body)), Principal("app", "service", None))
    assert [(each.position, each.account) for each in sent] == [(0, "app"), (2, "cy")]
    assert sent[0].key == ("app", ID)
