"""From packets to frames: order, waiting, and what each codec's payloads hold."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.rtp import bounds
from media.rtp.depayload import START_CODE, FrameAssembler, is_key_start
from media.rtp.jitter_buffer import JitterBuffer
from media.rtp.packet import MalformedPacketError
from media.rtp.retransmission import ForwardedPacket

SPS, PPS, IDR, SLICE = b"\x67sps", b"\x68pps", b"\x65idr-idr", b"\x41slice"


def stap(*units: bytes) -> bytes:
    return b"\x78" + b"".join(len(unit).to_bytes(2, "big") + unit for unit in units)


def fragments(unit: bytes, size: int = 3) -> list[bytes]:
    body = unit[1:]
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    head = unit[0] & 0xE0 | 28
    return [
        bytes((head, unit[0] & 0x1F | (at == 0) << 7 | (at == len(parts) - 1) << 6)) + part
        for at, part in enumerate(parts)
    ]


# --- H264 ---------------------------------------------------------------------------------------


def test_a_key_frame_carries_its_parameter_sets() -> None:
    assembler = FrameAssembler("h264")
    expected = b"".join(START_CODE + unit for unit in (SPS, PPS, IDR))
    assert assembler.assemble([stap(SPS, PPS), IDR]) == (expected, True)
    assert assembler.assemble([IDR]) == (expected, True), "also when it came without"
    assert assembler.assemble([SLICE]) == (START_CODE + SLICE, False)


def test_fragments_are_put_together() -> None:
    assembler = FrameAssembler("h264")
    frame = assembler.assemble([SPS, PPS, *fragments(IDR)])
    assert frame == (b"".join(START_CODE + unit for unit in (SPS, PPS, IDR)), True)


def test_parameter_sets_alone_are_no_frame() -> None:
    assert FrameAssembler("h264").assemble([stap(SPS, PPS)]) is None
    assert FrameAssembler("h264").assemble([b"", b""]) is None


@pytest.mark.parametrize(
    "payloads",
    [
        [IDR],
        fragments(SLICE)[1:],
        fragments(SLICE)[:-1],
        [*fragments(SLICE)[:-1], SLICE],
        [b"\x7c\x85"],
        [b"\x7d\x85abc"],
    ],
    ids=["no parameter sets", "no beginning", "no end", "cut off", "empty fragment", "FU-B"],
)
def test_h264_that_is_not_whole_is_malformed(payloads: list[bytes]) -> None:
    with pytest.raises(MalformedPacketError):
        FrameAssembler("h264").assemble(payloads)


def test_where_a_decoder_can_start_is_seen_on_the_first_packet() -> None:
    assert is_key_start("h264", stap(SPS, PPS))
    assert is_key_start("h264", fragments(IDR)[0])
    assert not is_key_start("h264", fragments(IDR)[1])
    assert not is_key_start("h264", SLICE)
    assert is_key_start("vp8", b"\x10\x00key")
    assert not is_key_start("vp8", b"\x10\x01delta")
    assert not is_key_start("vp8", b"\x00\x00rest")
    assert not is_key_start("vp8", b"\x90")
    assert not is_key_start("vp8", b"")
    assert is_key_start("opus", b"x")


# --- VP8 and Opus -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "descriptor",
    [b"\x10", b"\x90\x00", b"\x90\x80\x05", b"\x90\x80\x80\x05", b"\x90\xf0\x05\x01\x02"],
)
def test_vp8_descriptors_of_every_length_are_taken_off(descriptor: bytes) -> None:
    rest = bytes((descriptor[0] & 0xEF,)) + descriptor[1:]
    frame = FrameAssembler("vp8").assemble([descriptor + b"\x00first", rest + b"second"])
    assert frame == (b"\x00firstsecond", True)


@pytest.mark.parametrize("payload", [b"\x80", b"\x90\x80", b"\x90\xf0\x05", b"\x00rest"])
def test_vp8_that_is_cut_short_is_malformed(payload: bytes) -> None:
    with pytest.raises(MalformedPacketError):
        FrameAssembler("vp8").assemble([payload])


def test_an_opus_packet_is_a_frame() -> None:
    assert FrameAssembler("opus").assemble([b"opus"]) == (b"opus", True)
    assert FrameAssembler("opus").assemble([b""]) is None


@given(st.sampled_from(["h264", "vp8", "opus"]), st.lists(st.binary(max_size=40), min_size=1))
def test_depayloading_raises_nothing_but_its_error(codec: str, payloads: list[bytes]) -> None:
    for payload in payloads:
        is_key_start(codec, payload)
    with suppress(MalformedPacketError):
        FrameAssembler(codec).assemble(payloads)  # type: ignore[arg-type]


# --- the jitter buffer --------------------------------------------------------------------------


def packets(frames: int, per_frame: int, codec: str = "vp8") -> list[ForwardedPacket]:
    return [
        ForwardedPacket(
            index=7 + frame * per_frame + part,
            codec=codec,
            timestamp=frame * 3_000,
            marker=part == per_frame - 1,
            payload=b"%d.%d" % (frame, part),
            capture=b"",
            arrival_ms=frame * 33.0,
        )
        for frame in range(frames)
        for part in range(per_frame)
    ]


@given(st.data())
def test_any_order_within_the_wait_gives_every_frame_in_order(data: st.DataObject) -> None:
    sent = packets(6, 3)
    order = [sent[0], *data.draw(st.permutations(sent[1:]))]
    buffer, frames = JitterBuffer(), []
    for packet in order:
        buffer.add(packet)
        frames += buffer.ready(200.0)
    assert [frame.timestamp for frame in frames] == [each * 3_000 for each in range(6)]
    assert all(frame.is_continuous and len(frame.payloads) == 3 for frame in frames)
    assert len(buffer) == 0


def test_a_lost_packet_is_waited_for_and_then_its_frame_is_left_out() -> None:
    buffer = JitterBuffer()
    sent = packets(4, 2)
    for packet in sent:
        if packet.payload != b"1.1":
            buffer.add(packet)
    assert [frame.timestamp for frame in buffer.ready(100.0)] == [0]
    assert buffer.ready(33.0 + bounds.JITTER_WAIT_MS - 1) == []
    late = buffer.ready(33.0 + bounds.JITTER_WAIT_MS)
    assert [frame.timestamp for frame in late] == [6_000, 9_000]
    assert [frame.is_continuous for frame in late] == [False, True]
    buffer.add(sent[3])
    assert len(buffer) == 0, "what was given up does not come back"


def test_a_frame_after_a_gap_says_so_for_its_beginning_may_be_in_it() -> None:
    buffer = JitterBuffer()
    for packet in packets(4, 2):
        if packet.payload not in (b"0.1", b"1.0"):
            buffer.add(packet)
    frames = buffer.ready(10_000.0)
    assert [frame.timestamp for frame in frames] == [3_000, 6_000, 9_000]
    assert [frame.is_continuous for frame in frames] == [False, True, True]


def test_lost_sound_costs_no_more_than_itself() -> None:
    buffer = JitterBuffer()
    for packet in packets(4, 1, "opus"):
        if packet.payload != b"1.0":
            buffer.add(packet)
    frames = buffer.ready(10_000.0)
    assert [frame.timestamp for frame in frames] == [0, 6_000, 9_000]


def test_a_frame_without_a_marker_ends_where_the_next_begins() -> None:
    buffer = JitterBuffer()
    for packet in packets(2, 2):
        buffer.add(ForwardedPacket(*(packet.index, "vp8", packet.timestamp, False, b"p", b"", 0.0)))
    assert [frame.timestamp for frame in buffer.ready(0.0)] == [0]


def test_the_buffer_is_bounded() -> None:
    buffer = JitterBuffer()
    sent = packets(bounds.JITTER_PACKETS_MAX + 10, 1)
    buffer.add(sent[0])
    assert len(buffer.ready(0.0)) == 1
    for packet in sent[2:]:
        buffer.add(packet)
        buffer.ready(0.0)
    assert len(buffer) == 0
