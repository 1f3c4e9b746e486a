"""Taking requests in: rights, rates, and what was asked before."""

import asyncio
import uuid
from typing import Any

import msgspec
import pytest

from engagement.domain import limits
from engagement.domain.requests import Role
from engagement.domain.rooms import RoomState
from engagement.errors import UnavailableError
from engagement.gateway.intake import Result, Submission, error_of
from engagement.gateway.requests_json import parse
from engagement.settings import Settings
from engagement.tokens import Principal
from tests.unit.gateway_parts import FakeLog, IntakeParts, open_room


class Desk:
    """An intake with its log, and short words for asking."""

    def __init__(self, **settings: Any) -> None:
        self.log = FakeLog()
        parts = IntakeParts(self.log, Settings(**settings))
        self.envelopes, self.intake = parts.envelopes, parts.intake
        self.room = open_room()

    def ask(
        self,
        *requests: dict[str, Any],
        user: str = "ben",
        role: Role = "viewer",
        room: RoomState | None = None,
    ) -> Submission:
        return self.intake.submit(
            Principal(user, role, None),
            room or self.room,
            parse(msgspec.json.encode(list(requests))),
            address="127.0.0.1",
        )

    def written(self) -> list[tuple[str, str, str]]:
        """(actor, role, type) of everything in the log."""
        self.envelopes.flush()
        return [
            (each.actor, each.role, str(each.request.__struct_config__.tag))
            for envelope in self.log.envelopes
            for each in envelope.requests
        ]


@pytest.fixture
async def desk() -> Desk:
    return Desk(user_requests_per_s=1_000)


def comment(text: str = "hello", request_id: str | None = None, **more: Any) -> dict[str, Any]:
    request_id = request_id or str(uuid.uuid4())
    return {"id": request_id, "type": "comment.post", "data": {"text": text}, **more}


def ask_for(kind: str, data: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return {"id": str(uuid.uuid4()), "type": kind, "data": data or {}, **more}


def outcomes(submission: Submission) -> list[str]:
    return [result.code or result.status for result in submission.results]


async def test_a_good_request_is_accepted_once_the_broker_has_it(desk: Desk) -> None:
    submission = desk.ask(comment())
    assert outcomes(submission) == ["accepted"]
    waiting = asyncio.create_task(submission.acknowledged())
    desk.envelopes.flush()
    await asyncio.sleep(0)
    assert not waiting.done()
    desk.log.acknowledge()
    await waiting
    assert desk.written() == [("ben", "viewer", "comment.post")]


async def test_what_the_broker_refuses_is_not_accepted_and_can_be_sent_again(desk: Desk) -> None:
    request = comment()
    submission = desk.ask(request)
    desk.envelopes.flush()
    desk.log.fail()
    with pytest.raises(UnavailableError):
        await submission.acknowledged()
    assert outcomes(desk.ask(request)) == ["accepted"]


async def test_a_broker_that_does_not_answer_is_not_waited_for_for_ever(desk: Desk) -> None:
    submission = desk.ask(comment())
    with pytest.raises(UnavailableError) as refused:
        await submission.acknowledged(timeout_s=0.01)
    assert refused.value.retry_after_s is not None


async def test_a_repeat_is_a_duplicate_and_is_not_written_again(desk: Desk) -> None:
    request = comment()
    first = desk.ask(request)
    desk.envelopes.flush()
    desk.log.acknowledge()
    await first.acknowledged()
    second = desk.ask(request)
    assert outcomes(second) == ["duplicate"]
    await second.acknowledged(timeout_s=0.01)
    assert len(desk.written()) == 1


async def test_a_repeat_waits_for_the_acknowledgement_of_the_first(desk: Desk) -> None:
    request = comment()
    desk.ask(request)
    again = desk.ask(request)
    waiting = asyncio.create_task(again.acknowledged())
    desk.envelopes.flush()
    await asyncio.sleep(0)
    assert not waiting.done()
    desk.log.acknowledge()
    await waiting


async def test_a_repeat_of_what_is_then_lost_is_no_duplicate(desk: Desk) -> None:
    request = comment()
    desk.ask(request)
    again = desk.ask(request)
    desk.envelopes.flush()
    desk.log.fail()
    with pytest.raises(UnavailableError):
        await again.acknowledged()


async def test_a_repeat_inside_one_batch_is_a_duplicate(desk: Desk) -> None:
    request = comment()
    assert outcomes(desk.ask(request, request)) == ["accepted", "duplicate"]
    assert len(desk.written()) == 1


@pytest.mark.parametrize(
    "other", [comment("other"), ask_for("like.tap"), comment(lang="en")], ids=["text", "type", "?"]
)
async def test_an_id_that_is_used_for_something_else_is_refused(
    desk: Desk, other: dict[str, Any]
) -> None:
    request = comment()
    desk.ask(request)
    if "lang" in other:
        other = {**request, "data": {"text": "hello", "lang": "en"}}
    assert outcomes(desk.ask({**other, "id": request["id"]})) == ["id_reused"]


async def test_an_id_used_in_another_room_is_refused(desk: Desk) -> None:
    request = comment()
    desk.ask(request)
    assert outcomes(desk.ask(request, room=open_room("garden"))) == ["id_reused"]


async def test_ids_belong_to_whoever_made_them(desk: Desk) -> None:
    request = comment()
    assert outcomes(desk.ask(request)) == ["accepted"]
    assert outcomes(desk.ask(request, user="cy")) == ["accepted"]


async def test_an_id_has_one_meaning_however_it_is_spelt(desk: Desk) -> None:
    request = comment(request_id=str(uuid.uuid4()))
    shouted = {**request, "id": request["id"].upper()}
    first, second = desk.ask(shouted), desk.ask(request)
    assert first.results[0].id == shouted["id"]
    assert outcomes(second) == ["duplicate"]
    desk.envelopes.flush()
    assert desk.log.envelopes[0].requests[0].request.id == request["id"]


async def test_a_repeat_of_something_accepted_stays_a_duplicate_when_the_room_has_closed(
    desk: Desk,
) -> None:
    request = comment()
    desk.ask(request)
    desk.room.status = "closed"
    assert outcomes(desk.ask(request, comment())) == ["duplicate", "room_closed"]


async def test_a_refusal_is_not_remembered(desk: Desk) -> None:
    request = comment()
    desk.room.status = "closed"
    assert outcomes(desk.ask(request)) == ["room_closed"]
    desk.room.status = "open"
    assert outcomes(desk.ask(request)) == ["accepted"]


async def test_a_closed_room_still_lets_people_leave(desk: Desk) -> None:
    desk.room.status = "closed"
    assert outcomes(desk.ask(ask_for("room.leave"), ask_for("room.join"))) == [
        "accepted",
        "room_closed",
    ]


async def test_a_measurement_is_taken_and_not_written(desk: Desk) -> None:
    report = ask_for("release.report", {"event": "e", "error_ms": -3.5, "basis": "hls"})
    submission = desk.ask(report)
    assert outcomes(submission) == ["accepted"]
    await submission.acknowledged(timeout_s=0)
    assert desk.written() == []


async def test_the_muted_may_not_comment_but_may_like(desk: Desk) -> None:
    desk.room.muted_until_us["ben"] = 10**18
    assert outcomes(desk.ask(comment(), ask_for("like.tap"))) == ["muted", "accepted"]


async def test_a_mute_that_has_ended_is_none(desk: Desk) -> None:
    desk.room.muted_until_us["ben"] = 1
    assert outcomes(desk.ask(comment())) == ["accepted"]


async def test_the_banned_may_nothing(desk: Desk) -> None:
    desk.room.banned.add("ben")
    assert (
        outcomes(desk.ask(comment(), ask_for("like.tap"), ask_for("room.join"))) == ["banned"] * 3
    )


@pytest.mark.parametrize("kind", ["viewer.ban", "viewer.unban"])
@pytest.mark.parametrize(
    ("user", "role", "outcome"),
    [
        ("ben", "viewer", "forbidden"),
        ("ben", "host", "forbidden"),
        ("ana", "viewer", "accepted"),
        ("mo", "moderator", "accepted"),
        ("root", "admin", "accepted"),
        ("backend", "service", "accepted"),
    ],
)
async def test_only_moderators_and_the_rooms_own_host_moderate(
    desk: Desk, kind: str, user: str, role: Role, outcome: str
) -> None:
    request = ask_for(kind, {"target": "troll"})
    assert outcomes(desk.ask(request, user=user, role=role)) == [outcome]


@pytest.mark.parametrize("role", ["viewer", "host", "moderator", "admin"])
async def test_only_a_service_asks_for_others(desk: Desk, role: Role) -> None:
    assert outcomes(desk.ask(comment(actor="cy"), comment(actor="ben"), role=role)) == [
        "foreign_actor",
        "accepted",
    ]


async def test_a_service_asks_with_the_rights_of_whom_it_asks_for(desk: Desk) -> None:
    desk.room.banned.add("cy")
    submission = desk.ask(
        comment(actor="cy"), comment(actor="di"), comment(), user="backend", role="service"
    )
    assert outcomes(submission) == ["banned", "accepted", "accepted"]
    assert desk.written() == [
        ("di", "viewer", "comment.post"),
        ("backend", "service", "comment.post"),
    ]


async def test_a_service_moderates_in_the_name_of_a_moderator(desk: Desk) -> None:
    ban = ask_for("viewer.ban", {"target": "troll"}, actor="mo")
    assert outcomes(desk.ask(ban, user="backend", role="service")) == ["accepted"]
    assert desk.written() == [("mo", "service", "viewer.ban")]


async def test_order_in_a_batch_holds_across_roles(desk: Desk) -> None:
    desk.ask(comment(actor="a"), comment(), comment(actor="b"), user="backend", role="service")
    assert [actor for actor, _, _ in desk.written()] == ["a", "backend", "b"]


async def test_what_is_beyond_the_users_rate_is_rejected_and_the_rest_is_not() -> None:
    desk = Desk(user_requests_per_s=1)
    submission = desk.ask(*[comment() for _ in range(5)])
    assert outcomes(submission) == ["accepted"] * 3 + ["rate_limited"] * 2
    assert submission.retry_after_s == pytest.approx(1, abs=0.1)
    assert len(desk.written()) == 3


async def test_rates_are_per_user_and_room() -> None:
    desk = Desk(user_requests_per_s=1)
    desk.ask(*[comment() for _ in range(3)])
    assert outcomes(desk.ask(comment())) == ["rate_limited"]
    assert outcomes(desk.ask(comment(), user="cy")) == ["accepted"]
    assert outcomes(desk.ask(comment(), room=open_room("garden"))) == ["accepted"]


async def test_a_service_is_not_limited_per_user_but_per_room() -> None:
    desk = Desk(user_requests_per_s=1, room_requests_per_s=10)
    submission = desk.ask(*[comment() for _ in range(50)], user="backend", role="service")
    assert outcomes(submission).count("accepted") == 30


async def test_nothing_is_taken_while_the_log_is_behind(desk: Desk) -> None:
    desk.log.bytes = limits.PENDING_BYTES_MAX
    with pytest.raises(UnavailableError):
        desk.ask(comment())


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("bad_request", 400),
        ("unknown_type", 400),
        ("id_reused", 422),
        ("forbidden", 403),
        ("muted", 403),
        ("banned", 403),
        ("room_closed", 409),
        ("foreign_actor", 403),
        ("unknown_gift", 422),
        ("unknown_recipient", 422),
        ("self_gift", 422),
        ("rate_limited", 429),
    ],
)
def test_a_single_rejected_request_is_a_problem_of_its_kind(code: str, status: int) -> None:
    error = error_of(Result("x", "rejected", code), retry_after_s=2.0)
    assert (error.status, error.code) == (status, code)
    assert error.retry_after_s == (2.0 if code == "rate_limited" else None)
