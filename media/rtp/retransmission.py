"""Repair towards viewers, within budgets: per packet, per viewer, and for the whole process.

A forwarder that answers every NACK turns one hiccup into a storm: late packets are asked for,
sent twice, delay the others, which are asked for as well. So a packet goes again to a viewer at
most once per round trip, a few times in all, never when it is too late to be shown, and never
beyond what the viewer's and the process's buckets hold. The history is the track's, not the
viewer's: a viewer's numbers differ from it by a constant. Pure.
"""

from collections import OrderedDict
from typing import Literal

from msgspec import Struct

from media.rtp import bounds

Refusal = Literal[
    "asks_too_much", "unknown", "late", "too_soon", "too_often", "viewer_budget", "total_budget"
]


class ForwardedPacket(Struct, frozen=True, gc=False):
    """A packet as all viewers of a track get it, before each one's header."""

    index: int
    """Its place in the track: unwrapped, and continuous over a publisher's restarts."""
    codec: str
    timestamp: int
    """The publisher's, unchanged."""
    marker: bool
    payload: bytes
    capture: bytes
    """abs-capture-time as it came; empty when the packet carries none."""
    arrival_ms: float


class PacketHistory:
    """The newest packets of one track."""

    __slots__ = ("_packets",)

    def __init__(self) -> None:
        self._packets: list[ForwardedPacket | None] = [None] * bounds.HISTORY_PACKETS

    def add(self, packet: ForwardedPacket) -> None:
        """Remember a packet in place of the one that is a whole history older."""
        at = packet.index % bounds.HISTORY_PACKETS
        held = self._packets[at]
        if held is None or held.index <= packet.index:
            self._packets[at] = packet

    def get(self, index: int) -> ForwardedPacket | None:
        """A packet by its index; None when it never came, or was long ago."""
        packet = self._packets[index % bounds.HISTORY_PACKETS]
        return packet if packet is not None and packet.index == index else None


class TokenBucket:
    """So many a second, and so many at once."""

    __slots__ = ("_burst", "_filled_ms", "_rate_per_s", "_tokens")

    def __init__(self, rate_per_s: float, burst: float) -> None:
        self._rate_per_s = rate_per_s
        self._burst = self._tokens = burst
        self._filled_ms: float | None = None

    def take(self, now_ms: float) -> bool:
        """Take one; False when it is empty."""
        if self._filled_ms is not None:
            gained = max(0.0, now_ms - self._filled_ms) * self._rate_per_s / 1000
            self._tokens = min(self._burst, self._tokens + gained)
        self._filled_ms = now_ms
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def give_back(self) -> None:
        """Return one that was not used."""
        self._tokens = min(self._burst, self._tokens + 1)

    def wait_s(self) -> float:
        """How long until there is one, from the instant of the last `take`."""
        return max(0.0, (1 - self._tokens) / self._rate_per_s)


def total_budget() -> TokenBucket:
    """Of one process."""
    return TokenBucket(bounds.TOTAL_RESENDS_PER_S, bounds.TOTAL_RESENDS_BURST)


class Retransmissions:
    """What one viewer of one track may have again."""

    __slots__ = ("_asks", "_budget", "_history", "_resent", "_total")

    def __init__(self, history: PacketHistory, total: TokenBucket) -> None:
        self._history = history
        self._total = total
        self._asks = TokenBucket(bounds.VIEWER_ASKS_PER_S, bounds.VIEWER_ASKS_BURST)
        self._budget = TokenBucket(bounds.VIEWER_RESENDS_PER_S, bounds.VIEWER_RESENDS_BURST)
        self._resent: OrderedDict[int, tuple[float, int]] = OrderedDict()

    def take(self, index: int, now_ms: float) -> ForwardedPacket | Refusal:
        """The packet to send again, counted as sent; or why not."""
        if not self._asks.take(now_ms):
            return "asks_too_much"
        packet = self._history.get(index)
        if packet is None:
            return "unknown"
        if now_ms - packet.arrival_ms > bounds.RESEND_AGE_MS_MAX:
            return "late"
        sent_ms, times = self._resent.get(index, (float("-inf"), 0))
        if times >= bounds.RESENDS_PER_PACKET_MAX:
            return "too_often"
        if now_ms - sent_ms < bounds.RESEND_SPACING_MS:
            return "too_soon"
        if not self._budget.take(now_ms):
            return "viewer_budget"
        if not self._total.take(now_ms):
            self._budget.give_back()
            return "total_budget"
        self._resent[index] = (now_ms, times + 1)
        self._resent.move_to_end(index)
        if len(self._resent) > bounds.RESENT_REMEMBERED_MAX:
            self._resent.popitem(last=False)
        return packet
