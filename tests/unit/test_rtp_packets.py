"""RTP and RTCP on the wire: what is written is read back, and nothing malformed gets further."""

import struct
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.rtp import bounds, rtcp
from media.rtp.capture_time import abs_send_time_24, capture_ntp64
from media.rtp.packet import (
    MalformedPacketError,
    is_rtcp,
    is_sendable,
    parse_rtp,
    unwrap_rtx,
    wrap_rtx,
    write_extension,
    write_rtp,
)

U16, U32 = st.integers(0, 0xFFFF), st.integers(0, 0xFFFFFFFF)
ELEMENTS = st.lists(
    st.tuples(st.integers(1, 14), st.binary(min_size=1, max_size=16)),
    max_size=6,
    unique_by=lambda element: element[0],
)


@given(st.integers(0, 127), st.booleans(), U16, U32, U32, st.binary(max_size=1_200), ELEMENTS)
def test_a_packet_that_is_written_is_read_back(
    kind: int, marker: bool, sequence: int, stamp: int, ssrc: int, payload: bytes, elements: list
) -> None:
    data = write_rtp(kind, marker, sequence, stamp, ssrc, payload, write_extension(elements))
    packet = parse_rtp(data)
    assert (packet.payload_type, packet.marker, packet.sequence) == (kind, marker, sequence)
    assert (packet.timestamp, packet.ssrc, packet.payload) == (stamp, ssrc, payload)
    for number, value in elements:
        assert packet.extension_value(number) == value
    assert packet.extension_value(15) is None


def test_two_byte_extensions_are_read_too() -> None:
    body = bytes([3, 2]) + b"ab" + bytes([0, 7, 0])
    body += b"\0" * (-len(body) % 4)
    data = struct.pack("!BBHLL", 0x90, 96, 1, 2, 3) + struct.pack("!HH", 0x1000, len(body) // 4)
    packet = parse_rtp(data + body + b"x")
    assert packet.extension_value(3) == b"ab"
    assert packet.extension_value(7) == b""
    assert packet.extension_value(9) is None


def test_contributing_sources_and_padding_are_not_payload() -> None:
    data = struct.pack("!BBHLL", 0xA2, 96, 1, 2, 3) + b"\1" * 8 + b"payload" + b"\0\0\3"
    assert parse_rtp(data).payload == b"payload"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x80" * 11,
        b"\x40" + b"\0" * 11,
        b"\x8f" + b"\0" * 11,
        b"\x90" + b"\0" * 11,
        b"\x90" + b"\0" * 11 + b"\xbe\xde\xff\xff",
        b"\xa0" + b"\0" * 11,
        b"\xa0" + b"\0" * 11 + b"\xff",
    ],
)
def test_what_is_cut_short_is_malformed(data: bytes) -> None:
    with pytest.raises(MalformedPacketError):
        parse_rtp(data)


@given(st.binary(max_size=200))
def test_rtp_raises_nothing_but_its_error(noise: bytes) -> None:
    for data in (noise, b"\x90\x60" + noise, b"\xbf\xe0" + noise):
        try:
            packet = parse_rtp(data)
        except MalformedPacketError:
            continue
        for number in range(16):
            packet.extension_value(number)
        try:
            unwrap_rtx(packet, 96, 1)
        except MalformedPacketError:
            assert len(packet.payload) < 2


@given(U16, st.binary(min_size=1, max_size=100))
def test_a_retransmission_names_what_it_repeats(sequence: int, payload: bytes) -> None:
    again = parse_rtp(write_rtp(97, True, 9, 5, 77, wrap_rtx(sequence, payload)))
    packet = unwrap_rtx(again, 96, 42)
    assert (packet.payload_type, packet.ssrc, packet.sequence) == (96, 42, sequence)
    assert (packet.payload, packet.timestamp, packet.marker) == (payload, 5, True)


def test_a_packet_larger_than_srtp_takes_is_not_sendable() -> None:
    assert is_sendable(b"x" * (bounds.PACKET_BYTES_MAX - 12), b"")
    assert not is_sendable(b"x" * (bounds.PACKET_BYTES_MAX - 12), b"1234")


def test_capture_and_send_times_have_the_lengths_of_their_specifications() -> None:
    assert capture_ntp64((5).to_bytes(8, "big")) == 5
    assert capture_ntp64((5).to_bytes(8, "big") + b"\xff" * 8) == 5
    assert capture_ntp64(b"1234567") is None
    assert abs_send_time_24(b"\0\1\2") == 258
    assert abs_send_time_24(b"\0") is None


# --- RTCP ---------------------------------------------------------------------------------------

BLOCKS = st.builds(
    rtcp.ReportBlock,
    U32, st.integers(0, 255), st.integers(-0x800000, 0x7FFFFF), U32, U32, U32, U32,
)  # fmt: skip


@given(U32, st.integers(0, 2**64 - 1), U32, U32, U32, st.lists(BLOCKS, max_size=31))
def test_reports_are_read_back(
    ssrc: int, ntp64: int, stamp: int, packets: int, octets: int, blocks: list[rtcp.ReportBlock]
) -> None:
    sent = rtcp.SenderReport(ssrc, ntp64, stamp, packets, octets, tuple(blocks))
    data = rtcp.write_sender_report(sent) + rtcp.write_receiver_report(ssrc, tuple(blocks))
    assert is_rtcp(data)
    assert rtcp.parse_rtcp(data) == [sent, rtcp.ReceiverReport(ssrc, tuple(blocks))]


@given(st.integers(0, 0xFFFF), st.sets(st.integers(0, 400), min_size=1, max_size=80))
def test_lost_packets_are_named_across_the_wrap(base: int, ahead: set[int]) -> None:
    lost = [(base + each) & 0xFFFF for each in sorted(ahead)]
    [nack] = rtcp.parse_rtcp(rtcp.write_nack(1, 2, lost))
    assert isinstance(nack, rtcp.Nack)
    assert list(nack.lost) == lost


def test_a_nack_lists_no_more_than_its_bound() -> None:
    body = struct.pack("!LL", 1, 2) + struct.pack("!HH", 0, 0xFFFF) * 300
    [nack] = rtcp.parse_rtcp(struct.pack("!BBH", 0x81, 205, len(body) // 4) + body)
    assert isinstance(nack, rtcp.Nack)
    assert len(nack.lost) == bounds.LOST_LISTED_MAX


@given(st.integers(0, 10**9), st.lists(U32, max_size=3))
def test_bandwidth_survives_to_its_precision(bits_per_s: int, ssrcs: list[int]) -> None:
    [remb] = rtcp.parse_rtcp(rtcp.write_remb(1, bits_per_s, ssrcs))
    assert isinstance(remb, rtcp.BandwidthEstimate)
    assert remb.media_ssrcs == tuple(ssrcs)
    assert remb.bits_per_s <= bits_per_s < (remb.bits_per_s + 1) * (1 + 2**-17)


def test_key_frames_are_asked_for_by_pli_and_fir_alike() -> None:
    fir = struct.pack("!BBHLLLB3x", 0x84, 206, 4, 1, 0, 7, 0)
    asked = rtcp.parse_rtcp(rtcp.write_pli(1, 2) + fir)
    assert asked == [rtcp.KeyFrameRequest(1, (2,)), rtcp.KeyFrameRequest(1, (7,))]


def test_a_reference_time_is_read_and_answered_with_its_middle_bits() -> None:
    ntp64 = 0x1122334455667788
    [asked] = rtcp.parse_rtcp(rtcp.write_reference_time(9, ntp64))
    assert asked == rtcp.ReferenceTime(9, ntp64)
    answer = rtcp.write_dlrr(5, asked)
    assert struct.unpack("!BBHLBBHLLL", answer) == (0x80, 207, 5, 5, 5, 0, 3, 9, 0x33445566, 0)


def test_goodbyes_name_their_sources_and_other_reports_are_stepped_over() -> None:
    bye = struct.pack("!BBHLL", 0x82, 203, 2, 7, 8)
    sdes = struct.pack("!BBHLL", 0x81, 202, 2, 7, 0)
    assert rtcp.parse_rtcp(sdes + bye) == [rtcp.Goodbye((7, 8))]


@given(st.lists(st.tuples(st.integers(0, 31), st.integers(192, 223), st.binary(max_size=60))))
def test_rtcp_raises_nothing_but_its_error(reports: list[tuple[int, int, bytes]]) -> None:
    data = b""
    for count, kind, body in reports:
        body += b"\0" * (-len(body) % 4)
        data += struct.pack("!BBH", 0x80 | count, kind, len(body) // 4) + body
    for candidate in (data, data[:-1], data[1:]):
        with suppress(MalformedPacketError):
            rtcp.parse_rtcp(candidate)
