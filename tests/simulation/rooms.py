"""The rooms' half of a worker: the real partitions of rooms, their recovery and their order of
acknowledgement, hosted by a consumer group in memory.
"""

from collections.abc import Callable
from typing import Final

from engagement.domain import limits
from engagement.domain.events import Decided
from engagement.domain.moderation import WordList
from engagement.errors import UnavailableError
from engagement.log.checkpoints import Checkpoint
from engagement.log.codec import PoisonError, decode_envelope
from engagement.log.dead_letters import dead_letter
from engagement.log.topics import REQUESTS_TOPIC
from engagement.processors.fact_headers import writer_of
from engagement.processors.owned_partition import OwnedPartition
from engagement.processors.recovery import FACT_TOPICS, Fold
from tests.simulation.log import Log, Network, Record, Writer
from tests.simulation.loop import Process

_IDLE_S: Final = 0.1
_DEAD_S: Final = 0.5
"""How soon the partitions of a worker that was killed are somebody else's (KIP-345: its own
again)."""


class Group:
    """Who may work on which partitions of the rooms' requests, as a Kafka consumer group knows it:
    somebody who sleeps keeps them for as long as a session lasts."""

    def __init__(self, network: Network, partitions: int) -> None:
        self._network = network
        self._owners: dict[int, RoomsHost | None] = dict.fromkeys(range(partitions))
        self._hosts: list[RoomsHost] = []
        self.committed: dict[int, int] = dict.fromkeys(range(partitions), 0)

    def join(self, host: "RoomsHost") -> None:
        """A worker has started."""
        self._hosts.append(host)

    def of(self, host: "RoomsHost") -> set[int]:
        """The partitions of a worker, who is alive by asking."""
        host.heard_s = self._network.loop.time()
        return {number for number, owner in self._owners.items() if owner is host}

    def look(self) -> None:
        """Give the partitions of those who are gone to those who are there."""
        self._hosts = [host for host in self._hosts if self._is_there(host)]
        for number, owner in self._owners.items():
            if self._hosts and owner not in self._hosts:
                self._owners[number] = min(self._hosts, key=self._load)

    def shuffle(self) -> None:
        """A rebalance for no reason."""
        for number in self._owners:
            if self._hosts:
                self._owners[number] = self._network.random.choice(self._hosts)

    def _load(self, host: "RoomsHost") -> int:
        return sum(owner is host for owner in self._owners.values())

    def _is_there(self, host: "RoomsHost") -> bool:
        silent_s = self._network.loop.time() - host.heard_s
        return silent_s < (limits.SESSION_TIMEOUT_S if host.process.is_alive else _DEAD_S)


class RoomsHost:
    """Takes envelopes of the partitions it owns, writes facts, ends combos."""

    def __init__(
        self, process: Process, log: Log, network: Network, group: Group, life: bytes
    ) -> None:
        self.process = process
        self.heard_s = network.loop.time()
        self._log = log
        self._network = network
        self._group = group
        self._life = life
        self._writer = Writer(log, network, process)
        self._owned: dict[int, OwnedPartition] = {}
        self._next: dict[int, int] = {}
        self._acknowledged: dict[int, int] = {}
        self._commit_at_s = 0.0
        self._alive_at_s = network.loop.time()

    async def run(self) -> None:
        """For ever."""
        self._group.join(self)
        while True:
            self._refuse_to_be_a_zombie()
            await self._own(self._group.of(self))
            if not any(self._log.end(REQUESTS_TOPIC, each) > at for each, at in self._next.items()):
                await self._log.more(REQUESTS_TOPIC, _IDLE_S)
            await self._network.pass_by()
            self._refuse_to_be_a_zombie()
            for number in list(self._owned):
                self._take(number)
            for number, owned in self._owned.items():
                now_us = self._network.wall_us() + self.process.clock_off_us
                self._write(number, owned.rooms.tick(now_us), None)
            self._commit()

    async def _own(self, partitions: set[int]) -> None:
        for number in self._owned.keys() - partitions:
            del self._owned[number], self._next[number]
            self._acknowledged.pop(number, None)
        for number in sorted(partitions - self._owned.keys()):
            owned = await self._recovered(number)
            if number in self._group.of(self):
                self._owned[number] = owned
                self._next[number] = self._group.committed[number]

    async def _recovered(self, number: int) -> OwnedPartition:
        """A partition as the log has it; what is written while it is read is not seen."""
        await self._network.pass_by()
        ends = {topic: self._log.end(topic, number) for topic in FACT_TOPICS}
        await self._network.pass_by()
        fold = Fold(Checkpoint(), WordList())
        for topic, end in ends.items():
            begin = fold.begin(topic, 0, end)
            fold.add(topic, self._log.read(topic, number, begin, end - begin))
            fold.end(topic, end)
        fold.advance()
        return OwnedPartition(
            number,
            fold.result(),
            self._writer,  # type: ignore[arg-type]
            life=self._life,
            intruder=self._intruded,
            failed=lambda error: self.process.kill(),
        )

    def _take(self, number: int) -> None:
        there = self._log.end(REQUESTS_TOPIC, number) - self._next[number]
        if there <= 0:
            return
        some = self._network.random.randint(1, there)
        for record in self._log.read(REQUESTS_TOPIC, number, self._next[number], some):
            self._next[number] = record.offset + 1
            self._process(record)

    def _process(self, record: Record) -> None:
        owned = self._owned[record.partition]
        facts: list[Decided] = []
        try:
            envelope, poison = decode_envelope(record.value)
        except PoisonError as error:
            poison = [error]
        else:
            for asked in envelope.requests:
                owned.rooms.take_request(envelope, asked, facts)
        if poison:
            self._writer.append(*dead_letter(record, poison[0].reason))

        def acknowledge() -> None:
            self._acknowledged[record.partition] = record.offset + 1

        self._write(record.partition, facts, acknowledge)

    def _write(
        self, number: int, facts: list[Decided], acknowledge: Callable[[], None] | None
    ) -> None:
        if not facts and acknowledge is None:
            return
        owned = self._owned[number]
        try:
            topics = owned.write(facts)
        except UnavailableError:
            self.process.die()
        owned.acknowledge_after(topics, (), acknowledge or (lambda: None))

    def _commit(self) -> None:
        """Tell the group, now and then, what need not be read again."""
        if self._network.loop.time() >= self._commit_at_s:
            self._commit_at_s = self._network.loop.time() + limits.COMMIT_INTERVAL_S
            mine = self._group.of(self)
            done = {number: at for number, at in self._acknowledged.items() if number in mine}
            self._group.committed.update(done)

    def _refuse_to_be_a_zombie(self) -> None:
        """As `RoomProcessor` does: who slept longer than a session must not write."""
        asleep_s = self._network.loop.time() - self._alive_at_s
        self._alive_at_s = self._network.loop.time()
        if asleep_s > limits.SESSION_TIMEOUT_S * 0.8 and self._owned:
            self.process.die()

    def _intruded(self, owned: OwnedPartition, topic: str, first: int, last: int) -> None:
        between = self._log.read(topic, owned.number, first, last - first)
        if any(writer_of(record.headers) != self._life for record in between):
            self.process.kill()
