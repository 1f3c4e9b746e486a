"""Token buckets and the admission of joins."""

from hypothesis import given
from hypothesis import strategies as st

from engagement.gateway.rates import Admission, Buckets


def test_a_burst_is_let_through_and_then_the_rate() -> None:
    buckets = Buckets(rate_per_s=10, burst_s=3)
    assert buckets.take("ana", 100, now_s=0) == 30
    assert buckets.take("ana", 1, now_s=0) == 0
    assert buckets.take("ana", 100, now_s=1) == 10
    assert buckets.take("ana", 100, now_s=1_000) == 30


def test_buckets_are_each_their_own() -> None:
    buckets = Buckets(rate_per_s=1, burst_s=1)
    assert buckets.take("ana", 1, now_s=0) == 1
    assert buckets.take("ben", 1, now_s=0) == 1
    assert buckets.take("ana", 1, now_s=0) == 0


def test_an_empty_bucket_says_when_to_come_back() -> None:
    buckets = Buckets(rate_per_s=2, burst_s=3)
    assert buckets.wait_s("ana", now_s=0) == 0
    buckets.take("ana", 6, now_s=0)
    assert buckets.wait_s("ana", now_s=0) == 0.5
    assert buckets.take("ana", 1, now_s=0.5) == 1


def test_a_slow_rate_still_lets_one_through() -> None:
    assert Buckets(rate_per_s=0.1).take("ana", 5, now_s=0) == 1


def test_full_buckets_are_forgotten_before_others() -> None:
    buckets = Buckets(rate_per_s=1, burst_s=10, capacity=2)
    buckets.take("idle", 1, now_s=0)
    buckets.take("busy", 10, now_s=5)
    buckets.take("new", 1, now_s=5)
    assert len(buckets) == 2
    assert buckets.take("busy", 1, now_s=5) == 0


def test_memory_is_bounded_whoever_comes() -> None:
    buckets = Buckets(rate_per_s=1, burst_s=10, capacity=10)
    for number in range(1_000):
        buckets.take(str(number), 5, now_s=0)
    assert len(buckets) <= 10


@given(st.lists(st.tuples(st.floats(0, 2), st.integers(1, 50)), max_size=60))
def test_no_pattern_of_asking_gets_more_than_burst_and_rate(
    asked: list[tuple[float, int]],
) -> None:
    buckets, now_s, taken = Buckets(rate_per_s=10, burst_s=3), 100.0, 0
    for pause_s, wanted in asked:
        now_s += pause_s
        taken += buckets.take("ana", wanted, now_s)
        assert taken <= 30 + (now_s - 100.0) * 10 + 1e-6


def test_joins_are_spread_over_time_in_their_order() -> None:
    admission = Admission(rate_per_s=100, pending_max=1_000)
    waits = [admission.wait_s(0.0) for _ in range(110)]
    assert waits[:10] == [0.0] * 10
    later = [wait for wait in waits[10:] if wait is not None]
    assert later == sorted(later)
    assert 0.9 < later[-1] < 1.1


def test_a_join_beyond_the_queue_is_sent_away_and_takes_no_place() -> None:
    admission = Admission(rate_per_s=100, pending_max=50)
    answers = [admission.wait_s(0.0) for _ in range(200)]
    assert 200 - 61 <= answers.count(None) <= 200 - 60
    assert admission.backlog_s(0.0) < 0.6
    assert admission.wait_s(10.0) == 0.0
