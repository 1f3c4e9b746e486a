"""Fan-out: one encode per room and tick, the same bytes to every socket, no await per socket.

A room that was idle is flushed at once, a busy one once per tick; a gift does not wait for the
tick, nor does whatever came before it. Viewers who cannot keep up are
shaped: comments and counts are left out for them and told in a `skipped` frame, everything else
is sent; one whose buffer is full all the same is closed with a code that makes it resume.
"""

import asyncio
import time
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Final, Protocol

from engagement.domain import limits
from engagement.gateway import metrics
from engagement.gateway.cursors import Cursors
from engagement.gateway.frames import Event, events_frame, skipped_frame

SAMPLED_TYPES: Final = frozenset({"comment.posted", "viewers.counted", "likes.counted"})
"""What a viewer who cannot keep up does without. Everything else is never dropped."""
URGENT_TYPES: Final = frozenset({"gift.sent", "battle.started", "battle.ended"})
"""What does not wait for the tick. In a crowd that takes gifts faster than frames can be sent they
still share frames: see `Channel.urgent_s`."""

_EVENT_OVERHEAD_BYTES: Final = 250
"""Of a kept event besides its text: the struct, its id, places in two queues."""


class Viewer(Protocol):
    """A socket as the hub sees it. None of these block, none of them raise."""

    slow: bool
    """Its buffer has passed `SOCKET_SHAPE_BYTES` and not drained since."""
    skipped: dict[str, int]
    """Events left out since it was told last, by type."""

    def write(self, frame: bytes) -> None:
        """Hand over a frame."""

    def buffered_bytes(self) -> int:
        """What waits in user space."""

    def close_slow(self) -> None:
        """Close as a slow consumer."""


class Channel:
    """One room's fan-out: what is kept for resume, what waits for the tick, who watches."""

    __slots__ = (
        "began_here", "comments", "dirty", "due", "entering", "from_offset", "next_s", "partition",
        "pending", "ring", "room", "slow", "timer", "timer_s", "urgent_s", "version", "viewers",
        "writes",
    )  # fmt: skip

    def __init__(self, room: str, partition: int, from_offset: int) -> None:
        self.room = room
        self.partition = partition
        self.from_offset = from_offset
        """The ring holds every event of the room from this offset on."""
        self.ring: deque[Event] = deque()
        self.comments: deque[Event] = deque(maxlen=limits.SNAPSHOT_COMMENTS)
        self.began_here = False
        """`comments` needs nothing from before the tail."""
        self.pending: list[Event] = []
        self.viewers: set[Viewer] = set()
        self.entering = 0
        """Viewers who are about to attach."""
        self.writes: list[Viewer] = []
        self.slow: list[Viewer] = []
        self.dirty = False
        """`writes` and `slow` no longer follow from `viewers`."""
        self.due = False
        """It is flushed when the fetch in hand has been read."""
        self.timer: asyncio.TimerHandle | None = None
        self.timer_s = 0.0
        """When it is flushed otherwise."""
        self.next_s = 0.0
        """The tick: not before then."""
        self.urgent_s = 0.0
        """When something urgent may leave again: as long after the last as its frame costs to send,
        times five, so that a flood of gifts takes at most a fifth of the gateway, too."""
        self.version = 0

    def missed(self, first: int, last: int) -> Iterator[Event]:
        """Kept events with `first <= offset < last`, in order."""
        found: list[Event] = []
        for event in reversed(self.ring):
            if event.offset < first:
                break
            if event.offset < last:
                found.append(event)
        return reversed(found)


class Hub:
    """All channels of this gateway, and how far their partitions have been read."""

    def __init__(self, tick_s: float, loop: asyncio.AbstractEventLoop) -> None:
        self._tick_s = tick_s
        self._loop = loop
        self.cursors = Cursors()
        self._channels: dict[str, Channel] = {}
        self._kept: deque[tuple[Channel, int]] = deque()
        """Every kept event, oldest first; some have been dropped by their room already."""
        self._kept_events = 0
        self._kept_bytes = 0
        self._from: dict[int, int] = {}
        self._due: list[Channel] = []
        self._awaited: list[tuple[int, int, asyncio.Future[None]]] = []
        self.next_offsets: dict[int, int] = {}
        """Per partition: everything before it is in the channels."""

    def begin(self, partition: int, offset: int) -> None:
        """Reading of a partition begins here, at a start or after a gap: nothing that was kept
        before connects to what comes."""
        self._from[partition] = self.next_offsets[partition] = offset
        for channel in self._channels.values():
            if channel.partition == partition:
                while channel.ring:
                    self._drop_oldest(channel)
                channel.from_offset = offset

    def channel(self, room: str, partition: int) -> Channel:
        """The channel of a room."""
        channel = self._channels.get(room)
        if channel is None:
            start = self._from.get(partition, 0)
            channel = self._channels[room] = Channel(room, partition, start)
        return channel

    def find(self, room: str) -> Channel | None:
        """The channel of a room that has one already."""
        return self._channels.get(room)

    def forget(self, room: str) -> bool:
        """Let a room's channel go; False when somebody watches it."""
        channel = self._channels.get(room)
        if channel is None:
            return True
        if channel.viewers or channel.entering or channel.pending:
            return False
        while channel.ring:
            self._drop_oldest(channel)
        del self._channels[room]
        # Should the room come back, its ring cannot be taken to reach back to where we began.
        partition = channel.partition
        self._from[partition] = self.next_offsets.get(partition, 0)
        return True

    # --- what comes from the tail ---------------------------------------------------------------

    def publish(self, channel: Channel, event: Event) -> None:
        """Take the next event of a room in; `flush_due` sends what need not wait."""
        self._keep(channel, event)
        channel.version += 1
        if event.kind == "comment.posted":
            channel.comments.append(event)
        elif event.kind == "room.opened":
            channel.began_here = True
        if not channel.viewers:
            return
        channel.pending.append(event)
        if not channel.due:
            self._schedule(channel, urgent=event.kind in URGENT_TYPES)

    def _schedule(self, channel: Channel, *, urgent: bool) -> None:
        """See to it that the channel is flushed: now if it may be, else as soon as it may."""
        may_s = min(channel.next_s, channel.urgent_s) if urgent else channel.next_s
        if self._loop.time() >= may_s:
            channel.due = True
            self._due.append(channel)
        elif channel.timer is None or may_s < channel.timer_s:
            _cancel(channel)
            channel.timer_s = may_s
            channel.timer = self._loop.call_at(may_s, self._flush, channel)

    def read_up_to(self, partition: int, next_offset: int) -> None:
        """All records before this offset have been published; rooms that were idle are sent."""
        self.next_offsets[partition] = next_offset
        if self._awaited:
            self._wake(partition, next_offset)
        due, self._due = self._due, []
        for channel in due:
            self._flush(channel)

    async def reached(self, partition: int, offset: int, wait_s: float) -> bool:
        """Wait until everything before `offset` has been read; False when it was not in time."""
        if self.next_offsets.get(partition, 0) >= offset:
            return True
        future: asyncio.Future[None] = self._loop.create_future()
        entry = (partition, offset, future)
        self._awaited.append(entry)
        try:
            await asyncio.wait_for(future, wait_s)
        except TimeoutError:
            return False
        finally:
            if entry in self._awaited:
                self._awaited.remove(entry)
        return True

    def _wake(self, partition: int, next_offset: int) -> None:
        for awaited, offset, future in self._awaited:
            if awaited == partition and offset <= next_offset and not future.done():
                future.set_result(None)

    def remove_comment(self, channel: Channel, target: str) -> None:
        """Leave a comment out of snapshots."""
        if any(event.id == target for event in channel.comments):
            kept = [event for event in channel.comments if event.id != target]
            channel.comments = deque(kept, maxlen=limits.SNAPSHOT_COMMENTS)

    def broadcast(self, room: str, frame: bytes) -> None:
        """Send a frame that is no event to everyone in a room, ahead of the tick."""
        channel = self._channels.get(room)
        if channel is not None:
            for viewer in channel.viewers:
                if not viewer.slow:
                    viewer.write(frame)

    def _keep(self, channel: Channel, event: Event) -> None:
        channel.ring.append(event)
        self._kept.append((channel, event.offset))
        self._kept_events += 1
        self._kept_bytes += len(event.raw) + _EVENT_OVERHEAD_BYTES
        if len(channel.ring) > limits.ROOM_RING_EVENTS:
            self._drop_oldest(channel)
        while self._kept_bytes > limits.RING_BYTES_MAX:
            oldest, offset = self._kept.popleft()
            if oldest.ring and oldest.ring[0].offset == offset:
                self._drop_oldest(oldest)
        if len(self._kept) > 2 * self._kept_events + 1_000:
            self._kept = deque(each for each in self._kept if each[0].from_offset <= each[1])

    def _drop_oldest(self, channel: Channel) -> None:
        event = channel.ring.popleft()
        channel.from_offset = event.offset + 1
        self._kept_events -= 1
        self._kept_bytes -= len(event.raw) + _EVENT_OVERHEAD_BYTES

    # --- viewers --------------------------------------------------------------------------------

    def horizon(self, channel: Channel) -> int:
        """Everything before this offset has been sent to whoever is attached."""
        if channel.pending:
            return channel.pending[0].offset
        return self.next_offsets.get(channel.partition, 0)

    def attach(self, channel: Channel, viewer: Viewer) -> None:
        """From now on the viewer gets everything from `horizon` on."""
        channel.viewers.add(viewer)
        channel.dirty = True

    def detach(self, channel: Channel, viewer: Viewer) -> None:
        """The viewer has gone."""
        channel.viewers.discard(viewer)
        channel.dirty = True
        if not channel.viewers:
            channel.writes, channel.slow = [], []

    def reshape(self, channel: Channel) -> None:
        """A viewer of this channel became slow, or caught up."""
        channel.dirty = True

    def tell_skipped(self, channel: Channel, viewer: Viewer) -> None:
        """Tell a viewer that has caught up what it was spared."""
        if viewer.skipped:
            counts, viewer.skipped = viewer.skipped, {}
            viewer.write(
                skipped_frame(self.cursors.text(channel.partition, self.horizon(channel)), counts)
            )

    def send_apart(self, channel: Channel, viewer: Viewer, event: Event) -> None:
        """Send a viewer an event that is none of the room's, between those that are.

        Its cursor is where the viewer is: nothing is passed over.
        """
        if viewer.buffered_bytes() > limits.SOCKET_BUFFER_BYTES_MAX:
            viewer.close_slow()
            return
        self.tell_skipped(channel, viewer)
        told = self.cursors.text(channel.partition, self.horizon(channel))
        viewer.write(events_frame(told, [event]))

    def snapshot_comments(self, channel: Channel) -> list[bytes]:
        """The last comments that every attached viewer has been sent, oldest first."""
        horizon = self.horizon(channel)
        return [event.raw for event in channel.comments if event.offset < horizon]

    @property
    def kept_bytes(self) -> int:
        """Memory of all rings."""
        return self._kept_bytes

    @property
    def viewers(self) -> Iterable[Viewer]:
        """Everyone who is attached."""
        return (viewer for channel in self._channels.values() for viewer in channel.viewers)

    # --- the tick -------------------------------------------------------------------------------

    def _flush(self, channel: Channel) -> None:
        events, channel.pending = channel.pending, []
        channel.due = False
        _cancel(channel)
        if not events:
            return
        now_s = self._loop.time()
        cost_s = len(channel.viewers) * limits.TICK_US_PER_VIEWER / 1e6
        longest_s = limits.TICK_MS_MAX / 1000
        channel.next_s = now_s + max(self._tick_s, min(cost_s, longest_s))
        if any(event.kind in URGENT_TYPES for event in events):
            channel.urgent_s = now_s + min(cost_s, longest_s)
        if channel.dirty:
            channel.dirty = False
            channel.writes = [viewer for viewer in channel.viewers if not viewer.slow]
            channel.slow = [viewer for viewer in channel.viewers if viewer.slow]
        fast = channel.writes
        if fast:
            frame = events_frame(
                self.cursors.text(channel.partition, events[-1].offset + 1), events
            )
            for viewer in fast:
                viewer.write(frame)
            metrics.FRAMES.inc()
            metrics.FRAMES_SENT.inc(len(fast))
            metrics.BYTES_SENT.inc(len(frame) * len(fast))
            metrics.DELIVERED.inc(len(events) * len(fast))
            _measure(events)
        if channel.slow:
            self._flush_shaped(channel, events)

    def _flush_shaped(self, channel: Channel, events: list[Event]) -> None:
        """Send slow viewers only what must not be dropped.

        No cursor may pass an event that was left out before the viewer was told: so `skipped`
        comes before the frame, and the frame's cursor stops at the last event in it.
        """
        kept = [event for event in events if event.kind not in SAMPLED_TYPES]
        frame = b""
        if kept:
            frame = events_frame(self.cursors.text(channel.partition, kept[-1].offset + 1), kept)
        for viewer in channel.slow:
            if viewer.buffered_bytes() > limits.SOCKET_BUFFER_BYTES_MAX:
                viewer.close_slow()
                continue
            last = kept[-1].offset if kept else -1
            _count(viewer.skipped, (e for e in events if e.offset < last))
            if kept:
                if viewer.skipped:
                    counts, viewer.skipped = viewer.skipped, {}
                    told = self.cursors.text(channel.partition, kept[0].offset)
                    viewer.write(skipped_frame(told, counts))
                viewer.write(frame)
            _count(viewer.skipped, (e for e in events if e.offset > last))


def _cancel(channel: Channel) -> None:
    if channel.timer is not None:
        channel.timer.cancel()
        channel.timer = None


def _measure(events: list[Event]) -> None:
    now_s = time.time()
    if events[0].at_us and events[0].kind == "comment.posted":
        metrics.FRAME_SECONDS.observe(max(0.0, now_s - events[0].at_us / 1e6))
    for event in events:
        if event.kind == "gift.sent" and event.at_us:
            metrics.GIFT_SECONDS.observe(max(0.0, now_s - event.at_us / 1e6))


def _count(skipped: dict[str, int], events: Iterable[Event]) -> None:
    for event in events:
        if event.kind in SAMPLED_TYPES:
            skipped[event.kind] = skipped.get(event.kind, 0) + 1
            metrics.SKIPPED.inc()
