"""An RTMP connection without a socket: its handshake, its chunks, and what is allowed when."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engagement.errors import BadRequestError
from media.rtmp import bounds
from media.rtmp.chunks import (
    ABORT,
    AUDIO,
    DATA,
    SET_CHUNK_SIZE,
    VIDEO,
    ChunkReader,
    Message,
    chunked,
)
from media.rtmp.session import Event, MediaArrived, PublishAsked, PublishEnded, RtmpSession
from tests.unit.rtmp_publisher import HANDSHAKE, asking, chunk, command, message

messages = st.builds(
    Message,
    st.sampled_from([AUDIO, VIDEO, DATA]),
    st.sampled_from([0, 1, 0xFFFFFE, 0xFFFFFF, 0x1000000, 0xFFFFFFFF]),
    st.just(1),
    st.binary(max_size=700),
)


@given(st.lists(messages, max_size=5), st.lists(st.integers(1, 300), max_size=30))
def test_messages_are_the_same_wherever_the_bytes_are_cut(
    sent: list[Message], cuts: list[int]
) -> None:
    reader, data = ChunkReader(), b"".join(map(message, sent))
    received = []
    for size in cuts:
        received += reader.receive(data[:size])
        data = data[size:]
    assert received + reader.receive(data) == sent


@given(st.binary(max_size=3000), st.integers(1, 4096))
def test_what_is_sent_is_read_again(payload: bytes, chunk_bytes: int) -> None:
    reader = ChunkReader()
    size = chunk(SET_CHUNK_SIZE, chunk_bytes.to_bytes(4, "big"), on=2)
    sent = Message(DATA, 0, 1, payload)
    assert reader.receive(size + chunked(5, sent, chunk_bytes)) == [sent]


@pytest.mark.parametrize("at_ms", [0xFFFFFE, 0xFFFFFF, 0x1000000, 0xFFFFFFFF])
def test_after_four_hours_timestamps_are_repeated_in_every_chunk(at_ms: int) -> None:
    sent = [Message(VIDEO, at_ms, 1, bytes(range(256)) * 3), Message(AUDIO, at_ms, 1, b"a" * 200)]
    assert ChunkReader().receive(b"".join(map(message, sent))) == sent


def test_chunks_of_two_messages_may_alternate() -> None:
    video, audio = b"v" * 200, b"a" * 150
    first = chunk(VIDEO, video, on=6), chunk(AUDIO, audio, on=4)
    heads = [piece[: 12 + 128] for piece in first]
    tails = [piece[12 + 128 :] for piece in first]
    received = ChunkReader().receive(heads[0] + heads[1] + tails[0] + tails[1])
    assert [(m.kind, m.payload) for m in received] == [(VIDEO, video), (AUDIO, audio)]


def test_short_headers_take_the_rest_from_the_chunk_before() -> None:
    data = chunk(AUDIO, b"xy", at_ms=100, on=4)
    data += bytes((0x44,)) + b"\0\0\x14" + b"\0\0\x03" + bytes((AUDIO,)) + b"abc"  # 20 ms, length
    data += bytes((0x84,)) + b"\0\0\x15" + b"def"  # 21 ms
    data += bytes((0xC4,)) + b"ghi"  # as before
    received = ChunkReader().receive(data)
    assert [m.timestamp_ms for m in received] == [100, 120, 141, 162]
    assert [m.payload for m in received] == [b"xy", b"abc", b"def", b"ghi"]


@pytest.mark.parametrize("number", [2, 63, 64, 319, 320, 65_599])
def test_chunk_streams_are_numbered_in_one_two_or_three_bytes(number: int) -> None:
    if number < 64:
        head = bytes((number,))
    elif number < 320:
        head = bytes((0, number - 64))
    else:
        head = b"\x01" + (number - 64).to_bytes(2, "little")
    data = head + chunk(AUDIO, b"x" * 130)[1:]
    at = len(head) + 11 + 128
    data = data[:at] + bytes((head[0] | 0xC0,)) + head[1:] + data[at + 1 :]
    [received] = ChunkReader().receive(data)
    assert received.payload == b"x" * 130


def test_a_message_that_was_given_up_is_forgotten() -> None:
    begun = chunk(VIDEO, b"v" * 200, on=6)[: 12 + 128]
    data = begun + chunk(ABORT, (6).to_bytes(4, "big"), on=2) + chunk(VIDEO, b"new", on=6)
    assert [m.payload for m in ChunkReader().receive(data)] == [b"new"]


@pytest.mark.parametrize(
    "data",
    [
        b"\xc3",  # goes on with what never began
        chunk(VIDEO, b"", on=6)[:4] + b"\xff\xff\xff" + bytes((VIDEO,)) + bytes(4),  # 16 MiB
        chunk(SET_CHUNK_SIZE, bytes(4), on=2),
        chunk(SET_CHUNK_SIZE, b"\xff\xff\xff\xff", on=2),
        chunk(SET_CHUNK_SIZE, b"\1", on=2),
    ],
)
def test_what_is_no_chunk_is_refused(data: bytes) -> None:
    with pytest.raises(BadRequestError) as refused:
        ChunkReader().receive(data)
    assert refused.value.code == "bad_rtmp"


def test_chunk_streams_and_unfinished_messages_are_bounded() -> None:
    reader = ChunkReader()
    for number in range(bounds.CHUNK_STREAMS_MAX):
        reader.receive(bytes((number + 3,)) + chunk(AUDIO, b"x")[1:])
    with pytest.raises(BadRequestError, match="too many chunk streams"):
        reader.receive(bytes((60,)) + chunk(AUDIO, b"x")[1:])
    hoarder = ChunkReader()
    hoarder.message_bytes_max = bounds.MESSAGE_BYTES_MAX
    hoarder.receive(chunk(SET_CHUNK_SIZE, (1 << 20).to_bytes(4, "big"), on=2))
    with pytest.raises(BadRequestError, match="too many unfinished"):
        for number in range(3, 20):
            head = bytes((number,)) + bytes(3) + bounds.MESSAGE_BYTES_MAX.to_bytes(3, "big")
            hoarder.receive(head + bytes((VIDEO,)) + bytes(4) + bytes(1 << 20))


def asked(session: RtmpSession, data: bytes) -> list[Event]:
    return session.receive(data)


def test_a_publisher_is_asked_for_its_key_and_then_heard() -> None:
    session = RtmpSession()
    assert asked(session, asking()) == [PublishAsked("demo", "secret")]
    assert b"NetConnection.Connect.Success" in session.output
    assert b"NetStream" not in session.output
    session.accept()
    assert b"NetStream.Publish.Start" in session.output
    assert session.receive(chunk(VIDEO, b"frame", at_ms=40)) == [
        MediaArrived("video", 40, b"frame")
    ]
    assert session.receive(command("deleteStream", 9.0, None, 1.0)) == [PublishEnded()]


@pytest.mark.parametrize(
    ("name", "app", "expected"),
    [
        ("demo?token=a%2Bb", "live", PublishAsked("demo", "a+b")),
        ("demo", "live?token=abc", PublishAsked("demo", "abc")),
        ("demo", "live/", PublishAsked("demo", "")),
        ("a%7Eb?x=1&token=t", "live", PublishAsked("a~b", "t")),
    ],
)
def test_the_key_is_found_where_encoders_put_it(name: str, app: str, expected: Event) -> None:
    assert asked(RtmpSession(), asking(name, app)) == [expected]


def test_another_application_is_refused_with_the_address_that_is_right() -> None:
    session = RtmpSession()
    assert asked(session, asking(app="stream")) == []
    assert session.state == "closed" and b"/live/<room>" in session.output


def test_a_refusal_says_why() -> None:
    session = RtmpSession()
    asked(session, asking())
    session.refuse("the token has expired")
    assert b"NetStream.Publish.BadName" in session.output
    assert b"the token has expired" in session.output


@pytest.mark.parametrize(
    "out_of_turn",
    [
        b"GET / HTTP/1.1\r\n",
        b"\x06" + bytes(1536),
        HANDSHAKE + chunk(VIDEO, b"frame"),
        HANDSHAKE + command("publish", 1.0, None, "demo", "live"),
        HANDSHAKE + command("connect", 1.0, None),
        HANDSHAKE + command("connect", 1.0, {"app": "live"}) * 2,
        asking() + chunk(VIDEO, b"frame"),
        asking() + command("publish", 6.0, None, "other", "live"),
        HANDSHAKE + command("connect", 1.0, {"app": "live"}) + command("play", 2.0, None, "demo"),
        HANDSHAKE + chunk(DATA, b"x" * (bounds.COMMAND_BYTES_MAX + 1)),
    ],
)
def test_what_is_out_of_turn_ends_the_connection(out_of_turn: bytes) -> None:
    with pytest.raises(BadRequestError):
        RtmpSession().receive(out_of_turn)


def test_bytes_are_acknowledged_before_the_window_is_full() -> None:
    session = RtmpSession()
    session.receive(asking())
    session.accept()
    session.output.clear()
    for number in range(100):
        session.receive(chunk(VIDEO, bytes(16_000), at_ms=number))
    assert len(session.output) == 16, "one acknowledgement for 1.25 MB"


@given(st.integers(0, 400), st.binary(min_size=1, max_size=60), st.binary(max_size=300))
@settings(max_examples=300)
def test_junk_anywhere_is_ignored_or_refused_and_holds_little(
    at: int, junk: bytes, after: bytes
) -> None:
    script = asking()
    at = min(len(HANDSHAKE) + at, len(script))
    session = RtmpSession()
    try:
        session.receive(script[:at] + junk + script[at + len(junk) :] + after)
        if session.state == "asking":
            session.accept()
        session.receive(after)
    except BadRequestError as error:
        assert error.code in ("bad_rtmp", "bad_amf")
    assert len(session.output) < 16_384
