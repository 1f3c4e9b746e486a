"""A room's clock from a publisher's packets and reports."""

import pytest

from media.clock import ClockEvent
from media.clock_formulas import ntp_of_unix_ms
from media.rtp.rtcp import SenderReport
from media.webrtc.room import CaptureReports, ForwardingRoom

ARRIVAL_MS = 1_700_000_000_000.0
BEHIND_MS = 3_000.0
"""The publisher's clock against ours."""


class Told:
    """A room and what it announces."""

    def __init__(self) -> None:
        self.events: list[ClockEvent] = []
        self.started = 0
        self.room = ForwardingRoom("r", 5, self._announce, self._start)

    def _announce(self, room: str, events: list[ClockEvent]) -> None:
        self.events += events

    def _start(self, room: ForwardingRoom) -> None:
        self.started += 1

    def run(self, ssrc: int, base: int, numbers: range, capture: bool = False) -> None:
        for number in numbers:
            at_ms = ARRIVAL_MS + number * 100 / 3
            ntp64 = ntp_of_unix_ms(at_ms - BEHIND_MS)
            element = ntp64.to_bytes(8, "big") if capture and number % 30 == 0 else b""
            stamp = (base + number * 3_000) & 0xFFFFFFFF
            self.room.on_frame("video", ssrc, stamp, at_ms, element)


def report(ssrc: int, rtp: int, at_ms: float) -> SenderReport:
    return SenderReport(ssrc, ntp_of_unix_ms(at_ms - BEHIND_MS), rtp & 0xFFFFFFFF, 0, 0)


def test_frames_open_the_epoch_after_the_newest_and_start_the_stream_once() -> None:
    told = Told()
    told.run(1, 2**32 - 9_000, range(60))
    kinds = [(event.kind, event.anchor.epoch) for event in told.events]
    assert kinds[0] == ("clock.epoch.opened", 5)
    assert {epoch for _, epoch in kinds} == {5}, "the timestamp's wrap is none"
    assert told.started == 1


@pytest.mark.parametrize("capture", [True, False])
def test_the_publishers_clock_is_known_by_capture_times_or_by_reports(capture: bool) -> None:
    told = Told()
    if not capture:
        told.room.on_sender_report("video", report(1, 0, ARRIVAL_MS))
    told.run(1, 0, range(200), capture=capture)
    anchor = told.events[-1].anchor
    assert anchor.offset_ms == pytest.approx(BEHIND_MS, abs=1.0)


def test_the_report_of_a_source_that_has_gone_says_nothing_of_the_next() -> None:
    told = Told()
    told.room.on_sender_report("video", report(1, 0, ARRIVAL_MS))
    told.run(1, 0, range(60))
    told.run(2, 123_456_789, range(60, 120))
    opened = [event.anchor for event in told.events if event.kind == "clock.epoch.opened"]
    assert [anchor.epoch for anchor in opened] == [5, 6]
    assert opened[1].offset_ms == 0.0, "its own clock is not known yet"


def test_capture_times_are_believed_rather_than_reports() -> None:
    reports = CaptureReports(90_000, 1)
    reports.on_capture_time(ntp_of_unix_ms(ARRIVAL_MS), 90_000)
    reports.on_report(report(1, 90_000, ARRIVAL_MS))
    assert reports.capture_ms(180_000) == pytest.approx(ARRIVAL_MS + 1_000, abs=0.01)


def test_a_publisher_that_falls_silent_is_told_and_then_its_epoch_ends() -> None:
    told = Told()
    told.run(1, 0, range(60))
    for after_ms in range(0, 4_000, 10):
        told.room.check_clock(ARRIVAL_MS + 59 * 100 / 3 + after_ms)
    assert [event.reason for event in told.events][-1] == "gap"
    assert told.events[-1].kind == "clock.epoch.closed"
    assert "stalled" in [event.reason for event in told.events]


def test_a_clock_that_is_set_back_does_not_set_arrivals_back() -> None:
    told = Told()
    told.run(1, 0, range(30))
    told.room.on_frame("video", 1, 90_000, ARRIVAL_MS - 60_000, b"")
    told.room.end(ARRIVAL_MS - 60_000, "publisher_left")
    times = [event.anchor.at_us for event in told.events]
    assert times == sorted(times)
