"""A worker process of the simulation: real deciders and real rooms, on simulated engines."""

import asyncio
from collections.abc import Callable, Iterable, Mapping

import msgspec

from engagement.database import battle_store, ledger_store
from engagement.domain.events import ROOM_TOPIC, unix_us
from engagement.domain.ledger import BrokenInvariantError
from engagement.domain.media_time import RoomClock
from engagement.processors.battle_processor import BattleDecider
from engagement.processors.battle_timers import BattleTimers
from engagement.processors.ledger_processor import LedgerDecider
from engagement.processors.transacted import TransactedProcessor
from tests.simulation.engines import SimulatedEngines
from tests.simulation.log import Log, Network
from tests.simulation.loop import DiedError, Process
from tests.simulation.rooms import Group, RoomsHost
from tests.simulation.sql import Database

_RETRY_S = 0.5


class Closings:
    """Which rooms have closed, read from the log as a projection does: a little later."""

    def __init__(self, log: Log, partitions: int) -> None:
        self._log = log
        self._read = dict.fromkeys(range(partitions), 0)
        self._closed: dict[str, int] = {}

    async def __call__(self, rooms: Iterable[str]) -> Mapping[str, int]:
        for number, at in self._read.items():
            for record in self._log.read(ROOM_TOPIC, number, at):
                value = record.value or b""
                if b'"room.opened"' in value or b'"room.closed"' in value:
                    fact = msgspec.json.decode(value)
                    self._closed.pop(fact["roomid"], None)
                    if fact["type"] == "room.closed":
                        self._closed[fact["roomid"]] = unix_us(fact["time"])
            self._read[number] = self._log.end(ROOM_TOPIC, number)
        return {room: self._closed[room] for room in rooms if room in self._closed}


class Worker:
    """What one process runs."""

    def __init__(
        self,
        process: Process,
        log: Log,
        database: Database,
        network: Network,
        group: Group,
        *,
        partitions: int,
        clock: Callable[[str], RoomClock | None],
        wrong: Callable[[str], object],
    ) -> None:
        self.process = process
        self._wrong = wrong
        engines = SimulatedEngines(process, log, database, network, partitions)
        timers = BattleTimers(clock, Closings(log, partitions))
        battles = BattleDecider(battle_store, timers, clock, engines.now_us, partitions)
        self._processors = [
            TransactedProcessor(engines, LedgerDecider(ledger_store, partitions)),
            TransactedProcessor(engines, battles),
        ]
        life = f"{process.name}-{network.random.getrandbits(32):08x}".encode()
        self._rooms = RoomsHost(process, log, network, group, life)

    def start(self) -> None:
        """Run until it is killed or told to end."""
        for processor in self._processors:
            self.process.start(self._decide(processor))
        self.process.start(self._host_rooms())

    def end(self) -> None:
        """SIGTERM: its deciders finish what they have in hand."""
        for processor in self._processors:
            processor.stop()

    async def _decide(self, processor: TransactedProcessor) -> None:
        while True:
            try:
                await processor.run()
                return
            except BrokenInvariantError as error:
                self._wrong(f"broken invariant: {error}")
                self.process.kill()
                return
            except DiedError:
                return
            except Exception as error:
                if not self.process.is_alive:
                    return
                self._wrong(f"{processor.topic} failed: {error!r}")
                await asyncio.sleep(_RETRY_S)

    async def _host_rooms(self) -> None:
        try:
            await self._rooms.run()
        except DiedError:
            return
        except Exception as error:
            if self.process.is_alive:
                self._wrong(f"rooms failed: {error!r}")
            self.process.kill()
