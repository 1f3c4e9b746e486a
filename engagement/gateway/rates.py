"""Token buckets, many and cheap: one number each.

A bucket is kept as the time at which it would be full again (the generic cell rate algorithm of
ITU-T I.371). A full bucket equals no bucket, so forgetting full ones changes nothing.
"""

from typing import Final

from engagement.domain import limits

_SLACK: Final = 1e-9
"""Of a token: sums of fractions of a second must not deny the last one."""


class Buckets:
    """One token bucket per key, all with the same rate; a bucket holds `burst_s` of it."""

    __slots__ = ("_burst_s", "_capacity", "_full_at_s", "_rate")

    def __init__(
        self,
        rate_per_s: float,
        burst_s: float = limits.RATE_BURST_S,
        capacity: int = limits.BUCKETS_MAX,
    ) -> None:
        self._rate = rate_per_s
        self._burst_s = max(burst_s, 1 / rate_per_s)
        self._capacity = capacity
        self._full_at_s: dict[str, float] = {}

    def take(self, key: str, wanted: int, now_s: float) -> int:
        """Take up to `wanted` tokens; how many there were."""
        full_at_s = max(self._full_at_s.get(key, now_s), now_s)
        there = int((self._burst_s - (full_at_s - now_s)) * self._rate + _SLACK)
        taken = min(wanted, max(0, there))
        if taken:
            self._full_at_s[key] = full_at_s + taken / self._rate
            if len(self._full_at_s) > self._capacity:
                self._forget(now_s)
        return taken

    def wait_s(self, key: str, now_s: float) -> float:
        """How long until there is a token again."""
        full_at_s = max(self._full_at_s.get(key, now_s), now_s)
        return max(0.0, (full_at_s - now_s) + 1 / self._rate - self._burst_s)

    def _forget(self, now_s: float) -> None:
        self._full_at_s = {
            key: full_at_s for key, full_at_s in self._full_at_s.items() if full_at_s > now_s
        }
        # Still too many: whoever was first is forgiven. Memory is the bound that must hold.
        while len(self._full_at_s) > self._capacity:
            del self._full_at_s[next(iter(self._full_at_s))]

    def __len__(self) -> int:
        return len(self._full_at_s)


class Admission:
    """Lets a flood in at a rate: each comer is told how long to wait, or to come back later."""

    __slots__ = ("_next_s", "_pending_max", "_rate")

    def __init__(self, rate_per_s: float, pending_max: int) -> None:
        self._rate = rate_per_s
        self._pending_max = pending_max
        self._next_s = float("-inf")

    def wait_s(self, now_s: float) -> float | None:
        """Seconds until this one's turn, 0 for at once; None when too many wait already.

        A tenth of a second's worth may come in together.
        """
        turn_s = max(self._next_s, now_s - 0.1)
        if (turn_s - now_s) * self._rate > self._pending_max:
            return None
        self._next_s = turn_s + 1 / self._rate
        return max(0.0, turn_s - now_s)

    def backlog_s(self, now_s: float) -> float:
        """How long the queue is."""
        return max(0.0, self._next_s - now_s)
