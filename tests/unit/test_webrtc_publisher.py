"""A publisher's packets: what is asked for, what is reported, what is too much."""

from typing import Any

import pytest

from media.engine import SessionId
from media.rtp import bounds as rtp_bounds
from media.rtp import rtcp
from media.rtp.packet import wrap_rtx, write_extension, write_rtp
from media.rtp.rtcp import SenderReport
from media.webrtc import bounds
from media.webrtc.aiortc_private import NegotiatedTrack, PayloadType
from media.webrtc.fan_out import TrackFanOut
from media.webrtc.publisher import ABS_SEND_TIME_URI, PublishedTrack, PublisherSession

OURS, THEIRS, RTX = 1, 77, 78
VIDEO = PayloadType("vp8", 96, 90_000, rtx=97)
KEY = b"\x10\x00" + b"key" * 300


class Wire:
    """In place of a peer: keeps the feedback."""

    def __init__(self) -> None:
        self.said: list[Any] = []

    def send_rtcp(self, data: bytes) -> bool:
        self.said += rtcp.parse_rtcp(data)
        return True

    def of(self, kind: type) -> list[Any]:
        return [message for message in self.said if isinstance(message, kind)]


class Clock:
    """In place of a room: keeps what draws the clock."""

    def __init__(self) -> None:
        self.frames: list[int] = []
        self.reports: list[SenderReport] = []

    def on_frame(self, kind: str, ssrc: int, timestamp: int, at_ms: float, capture: bytes) -> None:
        self.frames.append(timestamp)

    def on_sender_report(self, kind: str, report: SenderReport) -> None:
        self.reports.append(report)


class Show:
    def __init__(self) -> None:
        self.now_ms = 1_000.0
        self.wire, self.clock, self.fan_out = Wire(), Clock(), TrackFanOut()
        self.session = PublisherSession(
            SessionId("x"), "ana", lambda: self.now_ms, lambda _: None, lambda _: None
        )
        self.session.peer = self.wire  # type: ignore[assignment]
        negotiated = NegotiatedTrack("video", "0", (VIDEO,), OURS, 2, {ABS_SEND_TIME_URI: 3})
        self.session.add_track(
            PublishedTrack(self.wire, negotiated, self.fan_out, self.clock)  # type: ignore[arg-type]
        )
        self.session.is_live = self.session.is_connected = True

    def packet(self, sequence: int, *, repair: bool = False, ssrc: int = THEIRS) -> None:
        extension = write_extension([(3, int(self.now_ms * 262.144 % 2**24).to_bytes(3, "big"))])
        stamp = sequence * 3_000
        if repair:
            data = write_rtp(97, True, 9, stamp, RTX, wrap_rtx(sequence, KEY), extension)
        else:
            data = write_rtp(96, True, sequence, stamp, ssrc, KEY, extension)
        self.session.on_rtp(data, self.now_ms)

    def later(self, by_ms: float) -> None:
        self.now_ms += by_ms
        self.session.tick(self.now_ms)


def test_a_missing_packet_is_asked_for_until_it_is_repaired() -> None:
    show = Show()
    for sequence in (1, 2, 4):
        show.packet(sequence)
    show.later(rtp_bounds.NACK_FIRST_MS)
    [nack] = show.wire.of(rtcp.Nack)
    assert (nack.media_ssrc, nack.lost) == (THEIRS, (3,))
    show.packet(3, repair=True)
    show.later(1_000)
    assert len(show.wire.of(rtcp.Nack)) == 1
    assert show.clock.frames == [3_000, 6_000, 12_000], "a repair is late: it draws no clock"
    assert show.fan_out.history.get(2) is not None


def test_reports_state_loss_and_what_the_path_takes() -> None:
    show = Show()
    for sequence in range(1, 1_000):
        show.packet(sequence)
        show.later(5.0)
    report = show.wire.of(rtcp.ReceiverReport)[-1]
    assert (report.blocks[0].ssrc, report.blocks[0].lost) == (THEIRS, 0)
    remb = show.wire.of(rtcp.BandwidthEstimate)[-1]
    assert remb.media_ssrcs == (THEIRS,)
    assert remb.bits_per_s >= bounds.PUBLISHER_BITS_PER_S_MIN * 0.99


def test_a_key_frame_is_asked_for_when_a_viewer_needs_one() -> None:
    show = Show()
    show.packet(1)
    show.fan_out.key_frames.want()
    show.later(rtp_bounds.KEY_FRAME_SPACING_MS)
    show.later(10)
    assert show.wire.of(rtcp.KeyFrameRequest) == [rtcp.KeyFrameRequest(OURS, (THEIRS,))]


def test_the_publishers_clock_is_believed_of_its_own_source_alone() -> None:
    show = Show()
    show.packet(1)
    for ssrc, ntp64 in ((THEIRS, 1 << 63), (THEIRS + 1, 1 << 63), (THEIRS, 0)):
        show.session.on_rtcp(rtcp.write_sender_report(SenderReport(ssrc, ntp64, 3_000, 1, 1)))
    assert [report.ssrc for report in show.clock.reports] == [THEIRS]


def test_a_reference_time_is_answered() -> None:
    show, answers = Show(), []
    show.wire.send_rtcp = answers.append  # type: ignore[method-assign, assignment]
    show.session.on_rtcp(rtcp.write_reference_time(THEIRS, 5 << 16))
    assert answers == [rtcp.write_dlrr(OURS, rtcp.ReferenceTime(THEIRS, 5 << 16))]


@pytest.mark.parametrize("noise", [b"", b"\x80", b"\x80\x20" + b"\0" * 10, b"\xff" * 40])
def test_noise_is_dropped(noise: bytes) -> None:
    show = Show()
    show.session.on_rtp(noise, show.now_ms)
    show.session.on_rtcp(noise)
    show.packet(1)
    assert show.clock.frames == [3_000]


def test_a_flood_is_dropped_before_it_is_multiplied() -> None:
    show = Show()
    for sequence in range(int(bounds.PUBLISHER_PACKETS_BURST) + 500):
        show.packet(sequence)
    assert len(show.clock.frames) == bounds.PUBLISHER_PACKETS_BURST


def test_who_was_replaced_is_not_heard() -> None:
    show = Show()
    show.session.is_live = False
    show.packet(1)
    show.session.on_rtcp(rtcp.write_sender_report(SenderReport(THEIRS, 1 << 63, 3_000, 1, 1)))
    show.later(5_000)
    assert (show.clock.frames, show.clock.reports, show.wire.said) == ([], [], [])
