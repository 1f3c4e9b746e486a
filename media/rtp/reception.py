"""What is received of one source: loss and jitter, as a receiver report states them. Pure."""

from media.rtp.rtcp import ReportBlock
from media.rtp.sequence import SequenceUnwrapper

_RESTART_DISTANCE = 3_000
"""MAX_DROPOUT of RFC 3550 A.1: further apart it is the source that began anew."""


class Reception:
    """One source's statistics (RFC 3550 A.3 and A.8)."""

    __slots__ = (
        "_base",
        "_expected_before",
        "_jitter",
        "_rate",
        "_received",
        "_received_before",
        "_sequences",
        "_transit",
        "report_ms",
        "report_ntp64",
        "ssrc",
    )

    def __init__(self, ssrc: int, rate: int, first_sequence: int) -> None:
        self.ssrc = ssrc
        self._rate = rate
        self._base = first_sequence
        self._sequences = SequenceUnwrapper(first_sequence)
        self._received = 0
        self._expected_before = self._received_before = 0
        self._jitter = 0.0
        self._transit: float | None = None
        self.report_ntp64 = 0
        self.report_ms = 0.0
        """Arrival of the newest sender report."""

    def add(self, sequence: int, timestamp: int, arrival_ms: float) -> None:
        """Count a packet in, in order of arrival."""
        if abs(self._sequences.peek(sequence) - self._sequences.highest) > _RESTART_DISTANCE:
            self._base = sequence
            self._sequences = SequenceUnwrapper(sequence)
            self._received = self._expected_before = self._received_before = 0
        is_newest = self._sequences.unwrap(sequence) == self._sequences.highest
        self._received += 1
        if not is_newest:
            return
        transit = arrival_ms * self._rate / 1000 - timestamp
        if self._transit is not None:
            difference = abs(transit - self._transit)
            if difference < 10 * self._rate:  # Beyond it the timestamp has wrapped or jumped.
                self._jitter += (difference - self._jitter) / 16
        self._transit = transit

    @property
    def expected(self) -> int:
        """Packets that were sent, by their numbers."""
        return self._sequences.highest - self._base + 1

    @property
    def lost(self) -> int:
        """Packets that did not come; negative with duplicates."""
        return self.expected - self._received

    def report(self, now_ms: float) -> ReportBlock:
        """The block for the next receiver report; begins the next interval."""
        expected, received = self.expected, self._received
        in_interval = expected - self._expected_before
        missing = in_interval - (received - self._received_before)
        self._expected_before, self._received_before = expected, received
        fraction = 0 if in_interval <= 0 else max(0, min(255, (missing << 8) // in_interval))
        delay = round((now_ms - self.report_ms) * 65.536) if self.report_ntp64 else 0
        return ReportBlock(
            ssrc=self.ssrc,
            fraction_lost=fraction,
            lost=self.lost,
            highest_sequence=self._sequences.highest,
            jitter_ticks=round(self._jitter),
            last_report=self.report_ntp64 >> 16 & 0xFFFFFFFF,
            delay_65536ths=delay,
        )
