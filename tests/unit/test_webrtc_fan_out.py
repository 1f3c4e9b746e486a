"""One track to many: numbers run on whatever the publisher's do."""

from hypothesis import given
from hypothesis import strategies as st

from media.rtp import bounds
from media.rtp.packet import RtpPacket
from media.rtp.retransmission import ForwardedPacket
from media.rtp.rtcp import SenderReport
from media.webrtc.fan_out import TrackFanOut


class Kept:
    """Keeps what it is sent."""

    def __init__(self) -> None:
        self.packets: list[ForwardedPacket] = []
        self.reports: list[SenderReport] = []

    def send(self, packet: ForwardedPacket) -> None:
        self.packets.append(packet)

    def relay(self, report: SenderReport) -> None:
        self.reports.append(report)

    @property
    def indices(self) -> list[int]:
        return [packet.index for packet in self.packets]


def fan_out() -> tuple[TrackFanOut, Kept]:
    made, kept = TrackFanOut(), Kept()
    made.add(kept)
    return made, kept


def forward(made: TrackFanOut, *sequences: int) -> None:
    for sequence in sequences:
        packet = RtpPacket(96, True, sequence & 0xFFFF, sequence & 0xFFFF, 7, b"x")
        made.forward(packet, "vp8", b"", 0.0)


@given(st.integers(0, 0xFFFF))
def test_numbers_begin_at_nought_and_do_not_wrap(first: int) -> None:
    made, kept = fan_out()
    forward(made, *range(first, first + 200))
    assert kept.indices == list(range(200))


def test_a_lost_packet_leaves_its_number_free_for_its_repair() -> None:
    made, kept = fan_out()
    forward(made, 10, 12, 11)
    assert kept.indices == [0, 2, 1]


def test_another_source_numbers_on_and_stragglers_of_the_old_are_dropped() -> None:
    made, kept = fan_out()
    forward(made, 60_000, 60_001)
    made.begin_source()
    forward(made, 5, 4, 6)
    assert kept.indices == [0, 1, 2, 3]


@given(st.integers(bounds.SKIPPED_MAX + 1, 0x7FFF - 1), st.booleans())
def test_a_long_gap_is_closed_but_for_one_packet(gap: int, is_back: bool) -> None:
    made, kept = fan_out()
    forward(made, 30_000, 30_001)
    made.key_frames.satisfied(0.0)
    jump = -max(gap, bounds.HISTORY_PACKETS + 2) if is_back else gap + 1
    forward(made, 30_001 + jump, 30_002 + jump)
    assert kept.indices == [0, 1, 3, 4]
    assert made.key_frames.is_due(10_000.0), "nobody can decode what follows"


def test_a_gap_that_can_be_repaired_is_left_open() -> None:
    made, kept = fan_out()
    forward(made, 100, 101 + bounds.SKIPPED_MAX)
    assert kept.indices == [0, 1 + bounds.SKIPPED_MAX]


def test_who_is_removed_gets_nothing_and_who_comes_asks_for_a_key_frame() -> None:
    made, kept = fan_out()
    assert made.key_frames.is_due(0.0)
    made.relay(SenderReport(7, 1, 2, 3, 4))
    made.remove(kept)
    made.remove(kept)
    forward(made, 1)
    assert (kept.packets, len(kept.reports)) == ([], 1)
