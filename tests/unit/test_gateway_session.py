"""The WebSocket protocol of one viewer, frame by frame, without a socket."""

import json
import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engagement.domain import limits
from engagement.domain.requests import LikeTap
from engagement.errors import CLOSE_CODES
from engagement.gateway.requests_json import Malformed
from engagement.gateway.session import Authenticate, Close, Effect, Reply, Session, Submit


def like(**data: Any) -> dict[str, Any]:
    return {"id": str(uuid.uuid4()), "type": "like.tap", "data": data}


def frame(**fields: Any) -> str:
    return json.dumps(fields)


def live_session() -> Session:
    session = Session(named=True, now_s=0)
    session.authenticated()
    return session


def only_reply(effects: list[Effect]) -> dict[str, Any]:
    assert len(effects) == 1
    assert isinstance(effects[0], Reply)
    return effects[0].message


def closed_with(effects: list[Effect]) -> int:
    assert isinstance(effects[-1], Close)
    return effects[-1].code


def test_the_first_frame_names_the_viewer() -> None:
    session = Session(named=False, now_s=0)
    assert session.receive_text(frame(t="auth", token="secret"), 0) == [Authenticate("secret")]
    assert session.state == "authenticating"
    session.authenticated()
    assert session.state == "live"


def test_a_viewer_named_by_the_handshake_need_not_say_it_again() -> None:
    session = live_session()
    assert isinstance(session.receive_text(frame(t="send", events=[like()]), 0)[0], Submit)


def test_a_live_viewer_may_bring_a_fresh_token() -> None:
    assert live_session().receive_text(frame(t="auth", token="new"), 0) == [Authenticate("new")]


def test_a_second_token_while_the_first_is_verified_is_refused() -> None:
    session = Session(named=False, now_s=0)
    session.receive_text(frame(t="auth", token="a"), 0)
    reply = only_reply(session.receive_text(frame(t="auth", token="b"), 0))
    assert reply["code"] == "already_authenticating"


def test_nothing_is_taken_from_a_viewer_without_a_name() -> None:
    session = Session(named=False, now_s=0)
    reply = only_reply(session.receive_text(frame(t="send", events=[like()]), 0))
    assert reply == {
        "t": "error",
        "code": "not_authenticated",
        "detail": "the first frame must be `auth`",
    }


def test_sent_requests_are_submitted_each_by_itself() -> None:
    [effect] = live_session().receive_text(frame(t="send", events=[like(count=3), {"id": 1}]), 0)
    assert isinstance(effect, Submit)
    good, bad = effect.parsed.items
    assert isinstance(good, LikeTap)
    assert isinstance(bad, Malformed)


def test_a_send_takes_a_credit_until_it_is_answered() -> None:
    session = live_session()
    for _ in range(limits.IN_FLIGHT_SENDS_MAX):
        assert isinstance(session.receive_text(frame(t="send", events=[]), 0)[0], Submit)
    reply = only_reply(session.receive_text(frame(t="send", events=[]), 0))
    assert reply["code"] == "too_many_in_flight"
    session.answered()
    assert isinstance(session.receive_text(frame(t="send", events=[]), 0)[0], Submit)


def test_a_send_without_an_array_is_refused_and_takes_no_credit() -> None:
    session = live_session()
    reply = only_reply(session.receive_text(frame(t="send", events=like()), 0))
    assert (reply["code"], reply["field"]) == ("bad_request", "$.events")
    assert session.in_flight == 0


def test_a_send_with_too_many_requests_is_refused_as_a_whole() -> None:
    text = frame(t="send", events=[0] * (limits.BATCH_REQUESTS_MAX + 1))
    assert only_reply(live_session().receive_text(text, 0))["code"] == "batch_too_large"


def test_a_ping_is_answered_with_what_it_carried() -> None:
    session = live_session()
    assert only_reply(session.receive_text(frame(t="ping"), 0)) == {"t": "pong"}
    pong = only_reply(session.receive_text(frame(t="ping", id="a", at_ms=1.5), 0))
    assert pong == {"t": "pong", "id": "a", "at_ms": 1.5}


def test_a_ping_with_a_long_id_gets_it_not_echoed() -> None:
    assert only_reply(live_session().receive_text(frame(t="ping", id="x" * 65), 0)) == {"t": "pong"}


@pytest.mark.parametrize(
    "text",
    ["", "nonsense", "[]", "{}", "null", '{"t":"dance"}', '{"t":7}', "[" * 9_000, '{"t":"send"}'],
)
def test_garbage_of_a_live_viewer_is_answered_and_counted(text: str) -> None:
    session = live_session()
    assert only_reply(session.receive_text(text, 0))["code"] == "bad_frame"
    assert session.errors == 1


def test_garbage_as_the_first_frame_closes_at_once() -> None:
    session = Session(named=False, now_s=0)
    effects = session.receive_text("hello?", 0)
    assert isinstance(effects[0], Reply)
    assert closed_with(effects) == CLOSE_CODES["bad_frame"]


def test_a_binary_frame_is_answered_and_counted() -> None:
    session = live_session()
    assert only_reply(session.receive_binary())["code"] == "bad_frame"
    assert session.errors == 1


def test_a_viewer_who_does_not_listen_is_closed() -> None:
    session = live_session()
    for _ in range(limits.CLIENT_ERRORS_MAX - 1):
        assert len(session.receive_binary()) == 1
    assert closed_with(session.receive_binary()) == CLOSE_CODES["too_many_errors"]


def test_a_frame_at_the_bound_is_read_and_one_beyond_it_closes() -> None:
    padding = limits.FRAME_BYTES_MAX - len(frame(t="ping", id=""))
    session = live_session()
    at_bound = frame(t="ping", id="x" * padding)
    assert len(at_bound) == limits.FRAME_BYTES_MAX
    assert only_reply(session.receive_text(at_bound, 0)) == {"t": "pong"}
    effects = session.receive_text(frame(t="ping", id="x" * (padding + 1)), 0)
    assert isinstance(effects[0], Reply)
    assert effects[0].message["code"] == "frame_too_large"
    assert closed_with(effects) == CLOSE_CODES["frame_too_large"]


def test_the_bound_of_a_frame_is_in_bytes_not_in_characters() -> None:
    text = frame(t="ping", id="x")[:-2] + "é" * (limits.FRAME_BYTES_MAX // 2) + '"}'
    assert closed_with(live_session().receive_text(text, 0)) == CLOSE_CODES["frame_too_large"]


def test_a_flood_of_frames_is_refused_and_a_pause_forgives_it() -> None:
    session = live_session()
    burst = int(limits.FRAMES_PER_S * limits.RATE_BURST_S)
    for _ in range(burst):
        assert only_reply(session.receive_text(frame(t="ping"), 0))["t"] == "pong"
    assert only_reply(session.receive_text(frame(t="ping"), 0))["code"] == "rate_limited"
    assert only_reply(session.receive_text(frame(t="ping"), 1))["t"] == "pong"


def test_a_closed_session_says_nothing_more() -> None:
    session = live_session()
    assert closed_with(session.close("restarting")) == CLOSE_CODES["restarting"]
    assert session.close("restarting") == []
    assert session.receive_text(frame(t="ping"), 0) == []
    assert session.receive_binary() == []
    assert session.receive_too_large() == []


any_json = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)
frames = (
    st.text()
    | any_json.map(json.dumps)
    | st.fixed_dictionaries(
        {"t": st.sampled_from(["auth", "send", "ping", "pong", "x"])},
        optional={"token": any_json, "events": any_json, "id": any_json, "at_ms": any_json},
    ).map(json.dumps)
)


@given(st.lists(st.tuples(frames, st.booleans()), max_size=40), st.booleans())
def test_no_frame_makes_the_session_fail_or_say_anything_undefined(
    sent: list[tuple[str, bool]], named: bool
) -> None:
    session = Session(named=named, now_s=0)
    if named:
        session.authenticated()
    for now_s, (text, binary) in enumerate(sent):
        was_closed = session.state == "closed"
        effects = session.receive_binary() if binary else session.receive_text(text, now_s)
        assert not (was_closed and effects)
        closes = [effect for effect in effects if isinstance(effect, Close)]
        assert closes == ([effects[-1]] if session.state == "closed" and not was_closed else [])
        for effect in effects:
            if isinstance(effect, Reply):
                assert effect.message["t"] in ("error", "pong")
            if isinstance(effect, Submit):
                assert session.state == "live"
        assert session.errors <= limits.CLIENT_ERRORS_MAX
        assert session.in_flight <= limits.IN_FLIGHT_SENDS_MAX
