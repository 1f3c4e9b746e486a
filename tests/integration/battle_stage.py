"""Battles on real engines without a gateway: requests of hosts, gifts, and all that is told."""

import asyncio
import itertools
import time
import uuid
from collections.abc import Callable, Iterable
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

from engagement.database.battle_queries import BattleQueries
from engagement.domain import battle_requests as asks
from engagement.domain import requests as rooms
from engagement.domain.battle_events import ScoreWindow, Side
from engagement.domain.battle_requests import BattleAsked, BattleEnvelope, BattleRequest
from engagement.domain.battles import BattleState
from engagement.domain.envelope import Accepted, Envelope
from engagement.domain.events import BATTLE_TOPIC, ROOM_TOPIC, RawFact
from engagement.log.battle_codec import encode_battle_envelope
from engagement.log.codec import PoisonError, decode_raw, encode_envelope
from engagement.log.topics import BATTLE_REQUESTS_TOPIC, REQUESTS_TOPIC, partition_of
from engagement.log.writer import LogWriter
from engagement.settings import Settings
from tests.integration.log_reader import LogReader
from tests.integration.room_workers import Workers
from tests.money import MoneyLog, new_id
from tests.waiting import until


class Fight:
    """A battle of this test: its rooms, and who hosts them."""

    def __init__(self, sides: int = 2) -> None:
        name = uuid.uuid4().hex[:12]
        self.name = f"battle-{name}"
        self.rooms = [f"room-{name}-{number}" for number in range(sides)]
        self.hosts = [f"host-{name}-{number}" for number in range(sides)]

    @property
    def sides(self) -> list[Side]:
        return [Side(*each) for each in zip(self.rooms, self.hosts, strict=True)]


class BattleStage:
    """Writes what gateways write and reads the facts of battles and rooms."""

    workers: Workers

    def __init__(self, settings: Settings, database: AsyncEngine) -> None:
        self._settings = settings
        self._battles = BattleQueries(database)
        self._seen = 0
        self._facts: dict[str, list[RawFact]] = {}
        self._ids: set[tuple[str, str]] = set()

    async def __aenter__(self) -> "BattleStage":
        self._writer = LogWriter(self._settings.bootstrap_servers, client_id="tests")
        await self._writer.start()
        self.money = MoneyLog(self._writer, self._settings.partitions)
        topics = (BATTLE_TOPIC, ROOM_TOPIC)
        self._reader = LogReader(self._settings, topics, self._settings.partitions)
        await (await self._reader.__aenter__()).from_the_end()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._reader.__aexit__()
        await self._writer.stop()

    # --- asking ----------------------------------------------------------------------------------

    async def ask(self, battle: str, request: BattleRequest, actor: str, **more: Any) -> str:
        """Write a request of a host; its id."""
        known = {"role": "viewer", "at_us": time.time_ns() // 1000, **more}
        asked = BattleAsked(battle=battle, actor=actor, request=request, **known)
        await self.put(battle, encode_battle_envelope(BattleEnvelope("tests", [asked])))
        return request.id

    async def put(self, battle: str, value: bytes) -> None:
        """Any record, in the partition of a battle."""
        number = self.partition(battle)
        self._writer.append(BATTLE_REQUESTS_TOPIC, number, b"tests", value)
        await self._writer.acknowledged(BATTLE_REQUESTS_TOPIC, number)

    async def invite(self, fight: Fight, duration_s: int, **more: Any) -> str:
        windows = [ScoreWindow(*each) for each in more.pop("windows", [])]
        data = asks.Invitation(fight.sides, duration_s, windows=windows, **more)
        return await self.ask(fight.name, asks.BattleInvite(id=new_id(), data=data), fight.hosts[0])

    async def accept(self, fight: Fight, host: str) -> str:
        data = asks.SideAnswer([])
        return await self.ask(fight.name, asks.BattleAccept(id=new_id(), data=data), host)

    async def start(self, fight: Fight, duration_s: int, **more: Any) -> BattleState:
        """Ask and accept; the battle, which has started when this returns."""
        await self.invite(fight, duration_s, **more)
        for host in fight.hosts[1:]:
            await self.accept(fight, host)
        state = await self.until_state(fight, lambda state: state.status == "running")
        await asyncio.sleep(max(0.0, state.started_us / 1e6 - time.time()))
        return state

    async def open_room(self, room: str, host: str) -> None:
        """Open a room, and wait for its fact."""
        opening = rooms.RoomOpen(id=new_id(), data=rooms.RoomOpening("A room", host))
        accepted = Accepted(room, host, "host", time.time_ns() // 1000, opening)
        number = partition_of(room, self._settings.partitions)
        value = encode_envelope(Envelope("tests", [accepted]))
        self._writer.append(REQUESTS_TOPIC, number, b"tests", value)
        await self.until(lambda: any(f.type == "room.opened" for f in self.facts(room)))

    def invitation_bytes(self, battle: str, fight: Fight) -> bytes:
        """A record that asks for a battle."""
        request = asks.BattleInvite(id=new_id(), data=asks.Invitation(fight.sides, 5))
        asked = BattleAsked(battle, fight.hosts[0], "viewer", time.time_ns() // 1000, request)
        return encode_battle_envelope(BattleEnvelope("tests", [asked]))

    def partition(self, battle: str) -> int:
        """Where a battle is decided."""
        return partition_of(battle, self._settings.partitions)

    # --- looking ---------------------------------------------------------------------------------

    async def state(self, fight: Fight) -> BattleState:
        """The battle as it is decided."""
        return await self._battles.battle(fight.name) or BattleState(fight.name)

    async def known(self, battle: str) -> BattleState | None:
        """A battle by its name; None when there is none."""
        return await self._battles.battle(battle)

    async def until_state(
        self, fight: Fight, holds: Callable[[BattleState], bool], within_s: float = 60
    ) -> BattleState:
        async def looked() -> BattleState | None:
            state = await self.state(fight)
            return state if holds(state) else None

        found = await until(looked, f"what {fight.name} is waited for", within_s)
        assert found is not None
        return found

    async def outcome(self, fight: Fight, request: str) -> str:
        """Why a request was refused; empty when it was not."""
        state = await self.until_state(fight, lambda state: request in state.outcomes)
        return state.outcomes[request]

    def facts(self, subject: str) -> list[RawFact]:
        """Facts of a battle or a room so far, in log order, each once."""
        records, self._seen = self._reader.records[self._seen :], len(self._reader.records)
        for record in records:
            try:
                fact = decode_raw(record.value)
            except PoisonError:
                continue  # The garbage of other tests.
            place = (record.topic, fact.id)
            if place not in self._ids:
                self._ids.add(place)
                self._facts.setdefault(fact.battleid or fact.roomid, []).append(fact)
        return self._facts.get(subject, [])

    def battle_facts(self, room: str) -> list[RawFact]:
        """What a room tells of its battle."""
        return [fact for fact in self.facts(room) if fact.type.startswith("battle.")]

    async def until(self, holds: Callable[[], bool]) -> None:
        """Read facts until this holds."""
        await self._reader.until(lambda _: holds())

    async def until_told(self, subject: str, kind: str) -> RawFact:
        """Read until this subject has told a fact of a type; the first one."""
        await self.until(lambda: any(fact.type == kind for fact in self.facts(subject)))
        return next(fact for fact in self.facts(subject) if fact.type == kind)

    async def until_ended(self, fights: Iterable[Fight]) -> None:
        """Read until all these battles, and each of their rooms, have told the end."""
        for fight in fights:
            for subject in (fight.name, *fight.rooms):
                await self.until_told(subject, "battle.ended")


def folded(facts: Iterable[RawFact]) -> dict[str, int]:
    """The score by room, from the contributions alone."""
    totals: dict[str, int] = {}
    for fact in facts:
        if fact.type == "battle.contributed":
            told = fact.decode()
            totals[told.room] = totals.get(told.room, 0) + told.points
    return totals


def revisions(facts: Iterable[RawFact]) -> list[int]:
    """Revisions in the order in which they were told."""
    unrevised = ("battle.contributed", "battle.contribution.late", "battle.refused")
    told = [fact.decode() for fact in facts if fact.type not in unrevised]
    return [getattr(data, "revision", 0) or data.final_revision for data in told]


def assert_rooms_agree(stage: BattleStage, fight: Fight) -> None:
    """Every room of a battle tells the same, in the same order, as the battle itself; it has one
    end, and that is the sum of what was contributed."""
    facts = stage.facts(fight.name)
    told = [(fact.type, bytes(fact.data)) for fact in facts if _is_for_rooms(fact)]
    for room in fight.rooms:
        assert [(fact.type, bytes(fact.data)) for fact in stage.battle_facts(room)] == told
    assert revisions(facts) == list(range(1, len(told) + 1))
    ends = [fact.decode() for fact in facts if fact.type == "battle.ended"]
    assert len(ends) == 1
    totals = {room: total for room, total in ends[0].totals.items() if total}
    assert totals == folded(facts)
    times = [fact.time for fact in facts if _is_for_rooms(fact)]
    assert all(first <= second for first, second in itertools.pairwise(times))


def _is_for_rooms(fact: RawFact) -> bool:
    return fact.type not in ("battle.contributed", "battle.contribution.late", "battle.refused")
