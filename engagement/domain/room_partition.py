"""All rooms of one partition: what an envelope does to them. The heart of the room processor.

One owner at a time folds a partition. It recovers by `restore` (a checkpoint) and `recall` (every
fact since), then takes envelopes (`take`) and the wall clock (`tick`). What it returns is to be
recorded in this order; everything that it remembers follows from what it returned.
"""

from collections.abc import Iterable

from msgspec import UNSET

from engagement.domain import gifts, limits, requests
from engagement.domain.envelope import Accepted, Envelope
from engagement.domain.events import Decided
from engagement.domain.leases import LeaseClock
from engagement.domain.media_time import Stamp, stamp, wall_stamp
from engagement.domain.moderation import Moderator
from engagement.domain.names import derived_id
from engagement.domain.presence import due_windows, expired, has_open_window
from engagement.domain.room_requests import decide, refused
from engagement.domain.rooms import RoomState, evolve
from engagement.domain.seen_ids import SeenIds


class RoomPartition:
    """The rooms of one partition, the ids seen in it, and the leases of its gateways."""

    def __init__(self, moderator: Moderator) -> None:
        self.rooms: dict[str, RoomState] = {}
        self.changed: set[str] = set()
        """Rooms that changed since the owner last cleared this: the next checkpoint."""
        self.fresh_ids: list[tuple[str, str]] = []
        """(id, actor) remembered since the owner last cleared this, for the checkpoint, too."""
        self.repeats = 0
        """Requests that were known already, since the start."""
        self._moderator = moderator
        self._seen: SeenIds[str] = SeenIds(limits.DEDUPE_IDS_PER_PARTITION)
        self._waiting: set[str] = set()
        self._leases = LeaseClock()

    def restore(self, state: RoomState) -> None:
        """Begin from a checkpointed room."""
        self.rooms[state.room] = state
        if _waits(state):
            self._waiting.add(state.room)

    def recall(self, fact: Decided) -> None:
        """Fold a fact that is on the log already. The reader drops duplicates, per topic, by id."""
        self._remember(fact)
        self._evolve(self._room(fact.room), fact)

    def remember(self, fact_id: str, actor: str) -> None:
        """Know an id from a checkpoint."""
        self._seen.add(fact_id, actor)

    def remember_fact(self, fact_id: str, actor: str, refused: str = "") -> None:
        """Know a fact that a checkpointed room has folded already, by its head alone.

        `refused` is the request that a `request.refused` is about, unless its id was reused.
        """
        self._add_id(fact_id, actor)
        if refused:
            self._add_id(refused, actor)

    def knows(self, fact_id: str) -> bool:
        """Whether this id is remembered."""
        return self._seen.get(fact_id) is not None

    def take(self, envelope: Envelope) -> list[Decided]:
        """Decide and fold all requests of one envelope."""
        out: list[Decided] = []
        for asked in envelope.requests:
            self.take_request(envelope, asked, out)
        return out

    def take_request(self, envelope: Envelope, asked: Accepted, out: list[Decided]) -> None:
        """Decide and fold one request of an envelope; its facts go to `out`.

        When deciding raises, the request has changed nothing and can be set aside.
        """
        if asked.request.__struct_config__.tag == "lease.renew":
            self._leases.renew_gateway(envelope.gateway)
            return
        state = self._room(asked.room)
        if asked.anchor is UNSET:
            mark = wall_stamp(state.opened_us or asked.at_us, asked.at_us)
        else:
            entry = envelope.clock[asked.anchor]
            mark = stamp(entry.anchor, entry.lag_ms, asked.at_us)
        self._decide(state, asked, mark, out)

    def tick(self, now_us: int) -> list[Decided]:
        """Close the windows that have ended and end the leases that have run out by now.

        Rooms of imported recordings are left alone: they follow their own time.
        """
        out: list[Decided] = []
        if self._leases.tick(now_us):
            for session, room in self._leases.lapsed(self.rooms.values()):
                state = self.rooms[room]
                self._fold(state, expired(state, session), out)
        for room in sorted(self._waiting):
            state = self.rooms[room]
            if not state.recorded:
                self._end_what_is_due(state, now_us, out)
        return out

    def _end_what_is_due(self, state: RoomState, now_us: int, out: list[Decided]) -> None:
        self._fold_all(state, due_windows(state, now_us), out)
        if state.combos:
            self._fold_all(state, gifts.due_combos(state, now_us), out)

    def _decide(self, state: RoomState, asked: Accepted, mark: Stamp, out: list[Decided]) -> None:
        if isinstance(asked.request, requests.TOLD_BY_OUTBOX):
            self._take_in(state, asked, mark, out)
            return
        by = self._seen.get(asked.request.id)
        if by is None:
            if asked.room in self._waiting:
                self._end_what_is_due(state, asked.at_us, out)
            self._fold_all(state, decide(state, asked, mark, self._moderator), out)
        elif by != asked.actor:
            self._fold(state, refused(asked, mark, "id_reused"), out)
        else:
            # Not even a window is closed: a repeat comes at a time that has passed.
            self.repeats += 1
        self._leases.renew(state, asked)

    def _take_in(self, state: RoomState, asked: Accepted, mark: Stamp, out: list[Decided]) -> None:
        """What the ledger and the battles have decided: recorded, not judged.

        A repeat is known by its place in their order, not by its id: money has no window.
        """
        if gifts.is_known(state, asked):
            self.repeats += 1
            return
        request = asked.request
        if isinstance(request, requests.GiftPaid):
            fact_id = request.id
            if self._seen.get(fact_id) is not None:
                # The sender's id is somebody else's here: the money has moved all the same.
                fact_id = derived_id(asked.room, "gift.sent", asked.actor, fact_id)
            facts: Iterable[Decided] = gifts.sent(state, asked, mark, fact_id)
        elif isinstance(request, requests.GiftTakenBack):
            facts = [gifts.taken_back(state, asked, mark)]
        elif isinstance(request, requests.GiftUnpaid):
            facts = [gifts.unpaid(asked, mark)]
        else:
            told = gifts.battle_told(state, asked, mark)
            facts = [fact for fact in told if not self.knows(fact.id)]
        self._fold_all(state, facts, out)

    def _fold_all(self, state: RoomState, facts: Iterable[Decided], out: list[Decided]) -> None:
        for fact in facts:
            self._fold(state, fact, out)

    def _fold(self, state: RoomState, fact: Decided, out: list[Decided]) -> None:
        if fact.kind == "request.refused" and self._seen.get(fact.id) is not None:
            return  # The refusal of a repeat is on the log already.
        self._remember(fact)
        self._evolve(state, fact)
        out.append(fact)

    def _evolve(self, state: RoomState, fact: Decided) -> None:
        evolve(state, fact)
        room = fact.room
        if state.status == "unknown" and fact.kind == "request.refused":
            return  # Nobody opened it: names that somebody made up are not kept.
        self.rooms[room] = state
        self.changed.add(room)
        if _waits(state):
            self._waiting.add(room)
        else:
            self._waiting.discard(room)

    def _remember(self, fact: Decided) -> None:
        actor = "" if fact.actor is UNSET else fact.actor
        self._add_id(fact.id, actor)
        if fact.kind == "request.refused" and fact.data.code != "id_reused":
            self._add_id(fact.data.request, actor)

    def _add_id(self, fact_id: str, actor: str) -> None:
        self._seen.add(fact_id, actor)
        self.fresh_ids.append((fact_id, actor))

    def _room(self, room: str) -> RoomState:
        return self.rooms.get(room) or RoomState(room)


def _waits(state: RoomState) -> bool:
    """Whether time alone will make a fact of this room."""
    return has_open_window(state) or bool(state.combos)
