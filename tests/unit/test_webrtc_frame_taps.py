"""Frames from forwarded packets: media time of both tracks, and what a loss leaves out."""

import pytest

from media.clock_formulas import ntp_of_unix_ms
from media.frames import EncodedFrame
from media.rtp import bounds as rtp_bounds
from media.rtp.packet import RtpPacket
from media.rtp.rtcp import SenderReport
from media.webrtc import bounds
from media.webrtc.frame_taps import RoomTap, SoundLine
from media.webrtc.room import ForwardingRoom

ARRIVAL_MS = 1_700_000_000_000.0
CAPTURE_MS = ARRIVAL_MS - 5_000.0
"""The publisher's clock is five seconds behind."""
VIDEO, SOUND = 11, 22
KEY, DELTA = b"\x10\x00key", b"\x10\x01delta"


class Kept:
    """Keeps what it is fed."""

    def __init__(self) -> None:
        self.frames: list[EncodedFrame] = []

    def feed(self, frame: EncodedFrame) -> None:
        self.frames.append(frame)

    def end_epoch(self, room: str, epoch: int) -> None:
        pass

    def of(self, track: str) -> list[EncodedFrame]:
        return [frame for frame in self.frames if frame.track == track]


class Show:
    """A room with a tap, and packets as a publisher's track would give them."""

    def __init__(self) -> None:
        self.kept = Kept()
        self.room = ForwardingRoom("r", 1, lambda room, events: None, lambda room: None)
        self.tap = RoomTap(self.room, self.kept)

    def picture(self, number: int, payload: bytes = DELTA, late_ms: float = 0.0) -> None:
        stamp, arrival_ms = 90_000 + number * 3_000, ARRIVAL_MS + number * 100 / 3 + late_ms
        self.room.on_frame("video", VIDEO, stamp, arrival_ms, b"")
        packet = RtpPacket(96, True, number, stamp, VIDEO, payload)
        self.room.fan_outs["video"].forward(packet, "vp8", b"", arrival_ms)

    def sound(self, number: int, late_ms: float = 0.0) -> None:
        stamp, arrival_ms = 4_800 + number * 960, ARRIVAL_MS + number * 20 + late_ms
        self.room.on_frame("audio", SOUND, stamp, arrival_ms, b"")
        packet = RtpPacket(111, False, number, stamp, SOUND, b"opus")
        self.room.fan_outs["audio"].forward(packet, "opus", b"", arrival_ms)

    def report(self, sound_ahead_ms: float = 0.0) -> None:
        """Both tracks' first packets were captured at the same time, or the sound later."""
        video, sound = ntp_of_unix_ms(CAPTURE_MS), ntp_of_unix_ms(CAPTURE_MS + sound_ahead_ms)
        self.room.on_sender_report("video", SenderReport(VIDEO, video, 90_000, 0, 0))
        self.room.on_sender_report("audio", SenderReport(SOUND, sound, 4_800, 0, 0))


def test_pictures_are_on_the_rooms_clock() -> None:
    show = Show()
    show.picture(0, KEY)
    show.picture(1, late_ms=15.0)
    first, second = show.kept.frames
    assert (first.room, first.epoch, first.track, first.codec) == ("r", 1, "video", "vp8")
    assert (first.rtp, first.pts_ms, first.is_key) == (90_000, 0.0, True)
    assert second.pts_ms == pytest.approx(100 / 3, abs=0.02)
    assert second.server_ms - first.server_ms == pytest.approx(100 / 3, abs=0.02), "no jitter"


def test_nothing_comes_before_a_key_frame_and_one_is_asked_for() -> None:
    show = Show()
    show.room.fan_outs["video"].key_frames.satisfied(0.0)
    show.picture(0)
    assert show.kept.frames == []
    assert show.room.fan_outs["video"].key_frames.is_due(ARRIVAL_MS)
    show.picture(1, KEY)
    assert len(show.kept.frames) == 1


def test_after_a_loss_pictures_wait_for_the_next_key_frame() -> None:
    show = Show()
    show.picture(0, KEY)
    for number in range(2, 30):
        show.picture(number, KEY if number == 25 else DELTA)
    stamps = [(frame.rtp - 90_000) // 3_000 for frame in show.kept.frames]
    assert stamps == [0, *range(25, 30)]
    assert rtp_bounds.JITTER_WAIT_MS < 30 * 100 / 3


def test_sound_is_laid_beside_the_picture_by_the_publishers_clock() -> None:
    show = Show()
    show.picture(0, KEY)
    show.report(sound_ahead_ms=7.0)
    for number in range(5):
        show.sound(number, late_ms=60.0)
    assert [frame.pts_ms for frame in show.kept.of("audio")] == pytest.approx(
        [7.0, 27.0, 47.0, 67.0, 87.0], abs=0.02
    )


def test_sound_is_laid_by_arrival_until_the_publishers_clock_is_known() -> None:
    show = Show()
    show.picture(0, KEY)
    show.sound(0, late_ms=30.0)
    show.sound(1, late_ms=80.0)
    show.report()
    show.sound(2)
    assert [frame.pts_ms for frame in show.kept.of("audio")] == pytest.approx(
        [30.0, 50.0, 40.0], abs=0.02
    )


def test_sound_from_before_the_first_picture_is_left_out() -> None:
    show = Show()
    show.sound(0)
    show.picture(0, KEY)
    show.report(sound_ahead_ms=-30.0)
    show.sound(1)
    show.sound(2)
    assert [frame.pts_ms for frame in show.kept.of("audio")] == pytest.approx([10.0], abs=0.02)


def test_a_new_source_is_a_new_epoch_with_nothing_left_of_the_old() -> None:
    show = Show()
    show.picture(0, KEY)
    show.room.end(ARRIVAL_MS + 50, "republish")
    show.picture(1)
    assert [frame.epoch for frame in show.kept.frames] == [1], "no key frame yet"
    show.picture(2, KEY)
    assert show.kept.frames[-1].epoch == 2
    assert show.kept.frames[-1].pts_ms == pytest.approx(100 / 3, abs=0.02)


def test_a_closed_tap_takes_nothing() -> None:
    show = Show()
    show.tap.close()
    show.picture(0, KEY)
    assert show.kept.frames == []


def test_sound_does_not_move_while_a_set_clock_is_known_for_one_track_alone() -> None:
    line = SoundLine()
    assert line.pts_ms(0, 100.0, 0.0, now_ms=0.0) == 100.0
    assert line.pts_ms(960, 1_420.0, 0.0, now_ms=20.0) == 120.0
    assert line.pts_ms(1_920, 140.0, 0.0, now_ms=40.0) == 140.0
    for now_ms in range(60, int(bounds.SOUND_DISAGREED_MS), 20):
        stamp = now_ms * 48
        assert line.pts_ms(stamp, now_ms + 300.0, 0.0, float(now_ms)) == now_ms + 100.0
    now_ms = bounds.SOUND_DISAGREED_MS + 100
    assert line.pts_ms(int(now_ms * 48), now_ms + 300.0, 0.0, now_ms) == now_ms + 300.0
