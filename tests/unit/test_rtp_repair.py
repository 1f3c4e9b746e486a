"""Loss and its repair, in both directions, within budgets."""

from hypothesis import given
from hypothesis import strategies as st

from media.rtp import bounds
from media.rtp.key_frame_requests import KeyFrameRequests
from media.rtp.missing import MissingPackets
from media.rtp.reception import Reception
from media.rtp.retransmission import (
    ForwardedPacket,
    PacketHistory,
    Retransmissions,
    TokenBucket,
    total_budget,
)
from media.rtp.sequence import SequenceUnwrapper, sequence_difference


def packet(index: int, arrival_ms: float = 0.0) -> ForwardedPacket:
    return ForwardedPacket(index, "vp8", index * 3_000, True, b"x", b"", arrival_ms)


# --- sequence numbers ---------------------------------------------------------------------------


@given(st.integers(0, 0xFFFF), st.integers(-0x8000, 0x7FFF))
def test_distances_are_signed_and_wrap(base: int, distance: int) -> None:
    assert sequence_difference((base + distance) & 0xFFFF, base) == distance


@given(st.integers(0, 0xFFFF), st.lists(st.integers(-200, 400), max_size=300))
def test_numbers_unwrap_whatever_their_order(first: int, steps: list[int]) -> None:
    unwrapper = SequenceUnwrapper(first)
    truth = first
    for step in steps:
        truth = max(first, truth + step)
        assert unwrapper.unwrap(truth & 0xFFFF) == truth


# --- what a receiver reports --------------------------------------------------------------------


def test_a_report_states_what_was_lost_since_the_one_before() -> None:
    reception = Reception(7, 90_000, first_sequence=65_530)
    for number in range(65_530, 65_540):
        if number != 65_537:
            reception.add(number & 0xFFFF, number * 3_000, number * 33.3)
    block = reception.report(0.0)
    assert (block.lost, block.fraction_lost, block.highest_sequence) == (1, 256 // 10, 65_539)
    for number in range(65_540, 65_550):
        reception.add(number & 0xFFFF, number * 3_000, number * 33.3)
    assert reception.report(0.0).fraction_lost == 0
    assert reception.lost == 1


def test_jitter_is_what_arrivals_stray_by_and_a_wrap_is_none() -> None:
    steady = Reception(7, 90_000, 0)
    for number in range(200):
        steady.add(number, ((1 << 32) - 100_000 + number * 3_000) % 2**32, number * 1000 / 30)
    assert steady.report(0.0).jitter_ticks < 10
    shaky = Reception(7, 90_000, 0)
    for number in range(200):
        shaky.add(number, number * 3_000, number * 1000 / 30 + 10 * (number % 2))
    assert 700 < shaky.report(0.0).jitter_ticks < 1_000


def test_a_report_says_how_long_ago_the_publisher_reported() -> None:
    reception = Reception(7, 90_000, 0)
    reception.add(0, 0, 0.0)
    reception.report_ntp64, reception.report_ms = 0x1122334455667788, 1_000.0
    block = reception.report(1_500.0)
    assert (block.last_report, block.delay_65536ths) == (0x33445566, 32_768)


def test_a_source_that_begins_anew_has_lost_nothing() -> None:
    reception = Reception(7, 90_000, 0)
    reception.add(0, 0, 0.0)
    reception.add(30_000, 0, 1.0)
    assert reception.lost == 0


# --- asking the publisher -----------------------------------------------------------------------


def test_a_missing_packet_is_asked_for_after_a_moment_and_again() -> None:
    missing = MissingPackets()
    missing.add(1, 0.0)
    missing.add(4, 0.0)
    assert missing.due(0.0) == []
    assert missing.due(bounds.NACK_FIRST_MS) == [2, 3]
    assert missing.due(bounds.NACK_FIRST_MS) == []
    missing.add(2, 20.0)
    assert missing.due(bounds.NACK_FIRST_MS + bounds.NACK_AGAIN_MS) == [3]


def test_a_packet_that_never_comes_is_given_up() -> None:
    missing = MissingPackets()
    missing.add(1, 0.0)
    missing.add(3, 0.0)
    asked = sum(len(missing.due(tick * 10.0)) for tick in range(500))
    assert asked == bounds.NACK_TRIES_MAX
    assert (len(missing), missing.given_up) == (0, 1)


def test_with_too_many_missing_a_key_frame_is_wanted_instead() -> None:
    missing = MissingPackets()
    missing.add(1, 0.0)
    assert missing.add(bounds.MISSING_MAX + 2, 0.0)
    assert len(missing) == bounds.MISSING_MAX
    assert not missing.add(bounds.MISSING_MAX + 4, 0.0)
    assert len(missing) == 0


def test_key_frame_requests_are_coalesced() -> None:
    requests = KeyFrameRequests()
    assert not requests.is_due(0.0)
    for _ in range(100):
        requests.want()
    assert requests.is_due(0.0)
    assert not requests.is_due(bounds.KEY_FRAME_SPACING_MS - 1)
    assert requests.is_due(bounds.KEY_FRAME_SPACING_MS)
    requests.satisfied(400.0)
    assert not requests.is_due(10_000.0)
    requests.want()
    assert requests.is_due(10_000.0)


# --- answering viewers --------------------------------------------------------------------------


def history(count: int) -> PacketHistory:
    kept = PacketHistory()
    for index in range(count):
        kept.add(packet(index))
    return kept


def test_a_packet_goes_again_once_per_round_trip_and_a_few_times_in_all() -> None:
    again = Retransmissions(history(10), total_budget())
    now_ms, sent = 0.0, 0
    while now_ms <= bounds.RESEND_AGE_MS_MAX:
        sent += isinstance(again.take(3, now_ms), ForwardedPacket)
        assert again.take(3, now_ms) in ("too_soon", "too_often")
        now_ms += bounds.RESEND_SPACING_MS
    assert sent == bounds.RESENDS_PER_PACKET_MAX


def test_a_late_or_unknown_packet_is_not_sent() -> None:
    again = Retransmissions(history(10), total_budget())
    assert again.take(3, bounds.RESEND_AGE_MS_MAX + 1) == "late"
    assert again.take(11, 0.0) == "unknown"
    overwritten = Retransmissions(history(bounds.HISTORY_PACKETS + 1), total_budget())
    assert overwritten.take(0, 0.0) == "unknown"


def test_an_old_packet_that_comes_late_does_not_displace_a_newer_one() -> None:
    kept = history(bounds.HISTORY_PACKETS + 1)
    kept.add(packet(0))
    assert kept.get(bounds.HISTORY_PACKETS) is not None


def test_a_viewer_has_a_budget_of_its_own() -> None:
    again = Retransmissions(history(1_000), total_budget())
    taken = [again.take(index, 0.0) for index in range(1_000)]
    assert sum(isinstance(each, ForwardedPacket) for each in taken) == bounds.VIEWER_RESENDS_BURST
    assert taken[-1] == "viewer_budget"


def test_who_asks_without_end_is_not_listened_to() -> None:
    again = Retransmissions(history(10), total_budget())
    asked = int(bounds.VIEWER_ASKS_BURST)
    assert {again.take(index, 0.0) for index in range(100, 100 + asked)} == {"unknown"}
    assert again.take(3, 0.0) == "asks_too_much"
    assert isinstance(again.take(3, 10.0), ForwardedPacket)


def test_all_viewers_together_have_one_and_a_refusal_costs_the_viewer_nothing() -> None:
    kept, total = history(10), TokenBucket(2.0, 3.0)
    viewers = [Retransmissions(kept, total) for _ in range(5)]
    taken = [viewer.take(1, 0.0) for viewer in viewers]
    assert taken[3:] == ["total_budget"] * 2
    assert isinstance(viewers[4].take(1, 500.0), ForwardedPacket)


def test_a_bucket_fills_at_its_rate_and_says_when() -> None:
    bucket = TokenBucket(10.0, 2.0)
    assert [bucket.take(0.0) for _ in range(3)] == [True, True, False]
    assert 0.09 < bucket.wait_s() <= 0.1
    assert bucket.take(100.0)
    assert not bucket.take(100.0)
    assert [bucket.take(10_000.0) for _ in range(3)] == [True, True, False]
