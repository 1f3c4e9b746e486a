"""What this gateway knows of every room: checkpoints, then the fold of everything since."""

import asyncio
from collections.abc import Callable
from heapq import nsmallest
from typing import Final

from msgspec import Struct

from engagement.domain import limits
from engagement.domain.events import ROOM_BATTLE_TYPES, Decided
from engagement.domain.rooms import RoomState, evolve

FOLDED_TYPES: Final = frozenset(
    {
        *ROOM_BATTLE_TYPES,
        "gift.sent",
        "gift.combo.ended",
        "gift.reversed",
        "room.opened",
        "room.closed",
        "viewer.muted",
        "viewer.banned",
        "viewer.unbanned",
        "viewers.counted",
        "likes.counted",
    }
)
"""Facts that change what a gateway answers. A comment changes only what the processor needs (its
author), so the gateway does not pay for folding it."""

_CHANGE_SENDERS: Final = ("gift.sent", "gift.reversed", "room.opened")


class Sender(Struct, frozen=True):
    """Who sent how much in a room's session."""

    actor: str
    coins: int


class RoomDirectory:
    """Room states by name, and who waits for one of them to change."""

    def __init__(self) -> None:
        self.rooms: dict[str, RoomState] = {}
        self._waiting: dict[str, list[asyncio.Future[None]]] = {}
        self._top_senders: dict[str, list[Sender]] = {}
        """Of rooms that were asked about since their last gift."""

    def restore(self, state: RoomState) -> None:
        """Begin from a checkpointed room."""
        # Authors are the processor's; a thousand of them per room are not carried along here.
        state.authors.clear()
        self.rooms[state.room] = state

    def fold(self, fact: Decided) -> RoomState:
        """Fold a fact and wake whoever waits for this room."""
        state = self.rooms.get(fact.room)
        if state is None:
            state = self.rooms[fact.room] = RoomState(fact.room)
        evolve(state, fact)
        if fact.kind in _CHANGE_SENDERS:
            self._top_senders.pop(fact.room, None)
        self.wake(fact.room)
        return state

    def top_senders(self, room: str) -> list[Sender]:
        """Who sent most coins in this session, most first."""
        top = self._top_senders.get(room)
        if top is None:
            state = self.rooms.get(room)
            coins = {} if state is None else state.supporters
            best = nsmallest(
                limits.TOP_SENDERS,
                (item for item in coins.items() if item[1] > 0),
                key=lambda item: (-item[1], item[0]),
            )
            top = self._top_senders[room] = [Sender(actor, given) for actor, given in best]
        return top

    def forget(self, room: str) -> None:
        """This room is not kept any more."""
        self.rooms.pop(room, None)
        self._top_senders.pop(room, None)

    def wake(self, room: str) -> None:
        """Let whoever waits for this room look again."""
        for waiting in self._waiting.pop(room, ()):
            if not waiting.done():
                waiting.set_result(None)

    def known(self, room: str) -> RoomState | None:
        """The room's state, or None when it was never opened."""
        state = self.rooms.get(room)
        return None if state is None or state.status == "unknown" else state

    async def find(self, room: str, wait_s: float) -> RoomState | None:
        """The room's state; one that is not here yet is waited for, it may be on its way."""
        state = self.known(room)
        if state is None:
            await self.until(room, lambda: self.known(room) is not None, wait_s)
            state = self.known(room)
        return state

    async def until(self, room: str, holds: Callable[[], bool], wait_s: float) -> bool:
        """Wait until `holds()`, asked whenever the room changes; False when it did not in time."""
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + wait_s
        while not holds():
            left_s = deadline_s - loop.time()
            if left_s <= 0:
                return False
            change = loop.create_future()
            self._waiting.setdefault(room, []).append(change)
            try:
                await asyncio.wait_for(change, left_s)
            except TimeoutError:
                pass
            finally:
                self._forget(room, change)
        return True

    def _forget(self, room: str, change: asyncio.Future[None]) -> None:
        waiting = self._waiting.get(room)
        if waiting is not None and change in waiting:
            waiting.remove(change)
            if not waiting:
                del self._waiting[room]
