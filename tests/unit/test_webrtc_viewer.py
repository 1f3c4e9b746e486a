"""What a viewer gets: the publisher's timestamps under numbers of its own, and repair."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engagement.errors import BadRequestError
from media.engine import SessionId
from media.rtp import rtcp
from media.rtp.capture_time import ABS_CAPTURE_TIME_URI
from media.rtp.packet import RtpPacket, parse_rtp, unwrap_rtx
from media.rtp.retransmission import total_budget
from media.webrtc.aiortc_private import NegotiatedTrack, PayloadType
from media.webrtc.fan_out import TrackFanOut
from media.webrtc.viewer import ViewerSession, ViewerTrack

SSRC, RTX_SSRC, CAPTURE_ID = 500, 501, 4
H264 = (
    PayloadType("h264", 102, 90_000, "4200", rtx=103),
    PayloadType("h264", 106, 90_000, "42e0", rtx=107),
)
VP8 = (PayloadType("vp8", 96, 90_000, rtx=97),)
KEY, DELTA = b"\x10\x00key", b"\x10\x01delta"


class Wire:
    """In place of a peer: keeps what is sent."""

    def __init__(self) -> None:
        self.sent: list[RtpPacket] = []
        self.reports: list[bytes] = []

    def send_rtp(self, data: bytes) -> bool:
        self.sent.append(parse_rtp(data))
        return True

    def send_rtcp(self, data: bytes) -> bool:
        self.reports.append(data)
        return True


class Watching:
    """A viewer of one track that is being forwarded."""

    def __init__(self, payload_types: tuple[PayloadType, ...] = VP8, codec: str = "vp8") -> None:
        self.codec, self.now_ms, self.events = codec, 0.0, []
        self.wire, self.fan_out = Wire(), TrackFanOut()
        self.session = ViewerSession(
            SessionId("x"),
            "ben",
            lambda: self.now_ms,
            lambda _: self.events.append("ended"),
            lambda _: self.events.append("joined"),
        )
        self.session.peer = self.wire  # type: ignore[assignment]
        negotiated = NegotiatedTrack(
            "video", "0", payload_types, SSRC, RTX_SSRC, {ABS_CAPTURE_TIME_URI: CAPTURE_ID}
        )
        total = total_budget()
        self.session.add_track(
            ViewerTrack(self.wire, negotiated, self.fan_out, total)  # type: ignore[arg-type]
        )
        self.session.number_codecs({"video": (codec, "")})
        self.session.on_connected()

    def forward(self, sequence: int, payload: bytes = DELTA, capture: bytes = b"") -> None:
        stamp = sequence * 3_000 & 0xFFFFFFFF
        packet = RtpPacket(120, True, sequence & 0xFFFF, stamp, 9, payload)
        self.fan_out.forward(packet, self.codec, capture, self.now_ms)

    def nack(self, *lost: int) -> None:
        self.session.on_rtcp(rtcp.write_nack(1, SSRC, list(lost)))


@given(st.integers(0, 0xFFFF))
def test_timestamps_are_the_publishers_and_numbers_run_on_from_the_first_key_frame(
    first: int,
) -> None:
    watching = Watching()
    watching.forward(first)
    watching.forward(first + 1, KEY)
    for sequence in range(first + 2, first + 10):
        watching.forward(sequence)
    sent = watching.wire.sent
    assert [each.timestamp for each in sent] == [
        sequence * 3_000 & 0xFFFFFFFF for sequence in range(first + 1, first + 10)
    ]
    begin = sent[0].sequence
    assert [each.sequence for each in sent] == [(begin + n) & 0xFFFF for n in range(9)]
    assert {(each.ssrc, each.payload_type) for each in sent} == {(SSRC, 96)}


def test_capture_times_are_passed_on_under_the_viewers_number() -> None:
    watching = Watching()
    watching.forward(1, KEY, capture=b"12345678")
    watching.forward(2)
    first, second = watching.wire.sent
    assert first.extension_value(CAPTURE_ID) == b"12345678"
    assert second.extension == b""


def test_a_lost_packet_is_repeated_in_the_retransmission_stream() -> None:
    watching = Watching()
    watching.forward(1, KEY)
    watching.forward(2)
    lost = watching.wire.sent[1]
    watching.nack(lost.sequence)
    repeated = watching.wire.sent[2]
    assert (repeated.ssrc, repeated.payload_type) == (RTX_SSRC, 97)
    assert unwrap_rtx(repeated, 96, SSRC) == lost
    watching.nack(lost.sequence)
    assert len(watching.wire.sent) == 3, "not again within a round trip"
    watching.nack((lost.sequence + 5) & 0xFFFF)
    assert len(watching.wire.sent) == 3, "not what was never sent"


def test_without_a_retransmission_stream_the_packet_itself_is_repeated() -> None:
    watching = Watching((PayloadType("vp8", 96, 90_000),))
    watching.forward(1, KEY)
    watching.nack(watching.wire.sent[0].sequence)
    assert watching.wire.sent[1] == watching.wire.sent[0]


def test_the_publishers_clock_is_relayed_under_the_viewers_source_and_counts() -> None:
    watching = Watching()
    watching.fan_out.relay(rtcp.SenderReport(9, 7 << 32, 3_000, 100, 100))
    assert watching.wire.reports == [], "nothing before the picture"
    watching.forward(1, KEY)
    watching.fan_out.relay(rtcp.SenderReport(9, 7 << 32, 3_000, 100, 100))
    [report] = rtcp.parse_rtcp(watching.wire.reports[0])
    assert report == rtcp.SenderReport(SSRC, 7 << 32, 3_000, 1, len(KEY))


def test_a_round_trip_is_answered_and_a_key_frame_passed_on() -> None:
    watching = Watching()
    watching.fan_out.key_frames.satisfied(0.0)
    asked = rtcp.ReferenceTime(77, 5 << 16)
    watching.session.on_rtcp(rtcp.write_reference_time(77, 5 << 16) + rtcp.write_pli(1, SSRC))
    assert watching.wire.reports == [rtcp.write_dlrr(SSRC, asked)]
    assert watching.fan_out.key_frames.is_due(1_000.0)


def test_the_profile_that_is_published_is_preferred() -> None:
    for profile, number in (("42e0", 106), ("4200", 102), ("6400", 102)):
        watching = Watching(H264, "h264")
        watching.session.number_codecs({"video": ("h264", profile)})
        watching.forward(1, b"\x65idr")
        assert watching.wire.sent[0].payload_type == number


def test_a_codec_that_was_not_offered_is_refused_and_later_left_out() -> None:
    watching = Watching()
    with pytest.raises(BadRequestError):
        watching.session.number_codecs({"video": ("h264", "42e0")})
    watching.session.follow_codecs({"video": ("h264", "42e0")})
    watching.forward(1, KEY)
    assert watching.wire.sent == []
    watching.session.follow_codecs({"video": ("vp8", "")})
    watching.forward(2, KEY)
    assert len(watching.wire.sent) == 1


def test_who_has_left_gets_nothing() -> None:
    watching = Watching()
    watching.session.on_closed()
    watching.forward(1, KEY)
    assert (watching.wire.sent, watching.events) == ([], ["joined", "ended"])


@given(st.binary(max_size=80))
def test_noise_from_a_viewer_changes_nothing(noise: bytes) -> None:
    watching: Any = Watching()
    watching.session.on_rtp(noise, 0.0)
    watching.session.on_rtcp(noise)
    watching.forward(1, KEY)
    assert len(watching.wire.sent) == 1
