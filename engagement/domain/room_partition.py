"""All rooms of one partition: what an envelope does to them. The heart of the room processor.

One owner at a time folds a partition. It recovers by `restore` (a checkpoint) and `recall` (every
fact since), then takes envelopes (`take`) and the wall clock (`tick`). What it returns is to be
recorded in this order; everything that it remembers follows from what it returned.
"""

from collections.abc import Iterable

from msgspec import UNSET

from engagement.domain import limits
from engagement.domain.envelope import Accepted, Envelope
from engagement.domain.events import Decided
from engagement.domain.media_time import Stamp, stamp, wall_stamp
from engagement.domain.moderation import Moderator
from engagement.domain.presence import (
    HTTP_GATEWAY,
    due_windows,
    expired,
    gateway_of,
    has_open_window,
)
from engagement.domain.room_requests import decide, refused
from engagement.domain.rooms import RoomState, evolve
from engagement.domain.seen_ids import SeenIds

_LEASE_SCAN_US = 1_000_000
"""Leases last 20 s and more; looking at all of them once a second is often enough."""


class RoomPartition:
    """The rooms of one partition, the ids seen in it, and the leases of its gateways."""

    def __init__(self, moderator: Moderator) -> None:
        self.rooms: dict[str, RoomState] = {}
        self.changed: set[str] = set()
        """Rooms that changed since the owner last cleared this: the next checkpoint."""
        self._moderator = moderator
        self._seen: SeenIds[str] = SeenIds(limits.DEDUPE_IDS_PER_PARTITION)
        self._waiting: set[str] = set()
        self._renewed_us: dict[str, int] = {}
        self._http_until_us: dict[tuple[str, str], int] = {}
        self._next_lease_scan_us = 0

    def restore(self, state: RoomState) -> None:
        """Begin from a checkpointed room."""
        self.rooms[state.room] = state
        if has_open_window(state):
            self._waiting.add(state.room)

    def recall(self, fact: Decided) -> None:
        """Fold a fact that is on the log already. The reader drops duplicates, per topic, by id."""
        self._remember(fact)
        evolve(self._room(fact.room), fact)
        self._note(fact.room)

    def remember(self, fact_id: str, actor: str) -> None:
        """Know an id from before the checkpoint, without folding its fact again."""
        self._seen.add(fact_id, actor)

    def take(self, envelope: Envelope) -> list[Decided]:
        """Decide and fold all requests of one envelope."""
        out: list[Decided] = []
        clock = envelope.clock
        for asked in envelope.requests:
            if asked.request.__struct_config__.tag == "lease.renew":
                self._renewed_us[envelope.gateway] = asked.at_us
                continue
            state = self._room(asked.room)
            if asked.anchor is UNSET:
                mark = wall_stamp(state.opened_us or asked.at_us, asked.at_us)
            else:
                entry = clock[asked.anchor]
                mark = stamp(entry.anchor, entry.lag_ms, asked.at_us)
            self._decide(state, asked, mark, out)
        return out

    def tick(self, now_us: int) -> list[Decided]:
        """Close the windows that have ended and end the leases that have run out by now.

        Rooms of imported recordings are left alone: they follow their own time.
        """
        out: list[Decided] = []
        if now_us >= self._next_lease_scan_us:
            self._next_lease_scan_us = now_us + _LEASE_SCAN_US
            for session, room in self._lapsed(now_us):
                self._fold(expired(self.rooms[room], session), out)
        for room in sorted(self._waiting):
            state = self.rooms[room]
            if not state.recorded:
                self._fold_all(due_windows(state, now_us), out)
        return out

    def _decide(self, state: RoomState, asked: Accepted, mark: Stamp, out: list[Decided]) -> None:
        if asked.session is UNSET:
            self._renew_http(state, asked)
        if asked.room in self._waiting:
            self._fold_all(due_windows(state, asked.at_us), out)
        request_id = asked.request.id
        by = self._seen.get(request_id)
        if by is None:
            self._fold_all(decide(state, asked, mark, self._moderator), out)
        elif by != asked.actor:
            self._fold(refused(asked, mark, "id_reused"), out)

    def _fold_all(self, facts: Iterable[Decided], out: list[Decided]) -> None:
        for fact in facts:
            self._fold(fact, out)

    def _fold(self, fact: Decided, out: list[Decided]) -> None:
        if fact.kind == "request.refused" and self._seen.get(fact.id) is not None:
            return  # The refusal of a repeat is on the log already.
        self._remember(fact)
        evolve(self.rooms[fact.room], fact)
        self._note(fact.room)
        out.append(fact)

    def _remember(self, fact: Decided) -> None:
        actor = "" if fact.actor is UNSET else fact.actor
        self._seen.add(fact.id, actor)
        if fact.kind == "request.refused" and fact.data.code != "id_reused":
            self._seen.add(fact.data.request, actor)

    def _note(self, room: str) -> None:
        self.changed.add(room)
        if has_open_window(self.rooms[room]):
            self._waiting.add(room)
        else:
            self._waiting.discard(room)

    def _room(self, room: str) -> RoomState:
        state = self.rooms.get(room)
        if state is None:
            state = self.rooms[room] = RoomState(room)
        return state

    def _renew_http(self, state: RoomState, asked: Accepted) -> None:
        lease = (state.room, f"{HTTP_GATEWAY}/{asked.actor}")
        if lease[1] in state.leases or asked.request.__struct_config__.tag == "room.join":
            self._http_until_us[lease] = asked.at_us + limits.HTTP_LEASE_TTL_S * 1_000_000

    def _lapsed(self, now_us: int) -> list[tuple[str, str]]:
        """(session, room) of every lease that has run out, in the order of rooms and joining."""
        ttl_us = limits.GATEWAY_LEASE_TTL_S * 1_000_000
        lapsed: list[tuple[str, str]] = []
        for room, state in self.rooms.items():
            if state.recorded or not state.leases:
                continue
            for session in state.leases:
                gateway = gateway_of(session)
                if gateway == HTTP_GATEWAY:
                    # After a restart nobody knows when the lease was renewed: it begins anew.
                    until_us = self._http_until_us.setdefault(
                        (room, session), now_us + limits.HTTP_LEASE_TTL_S * 1_000_000
                    )
                else:
                    until_us = self._renewed_us.setdefault(gateway, now_us) + ttl_us
                if until_us <= now_us:
                    lapsed.append((session, room))
        for session, room in lapsed:
            self._http_until_us.pop((room, session), None)
        return lapsed
