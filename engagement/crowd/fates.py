"""What became of acknowledged requests that no viewer saw: the room may have refused or held them.

A refusal is told to its sender's socket, which people who post over HTTP do not have; the activity
topic tells it to everybody who may read the log.
"""

import asyncio
from collections.abc import Set
from typing import Final

import structlog
from aiokafka.errors import KafkaError

from engagement.domain.events import ACTIVITY_TOPIC
from engagement.errors import UnavailableError
from engagement.log.codec import PoisonError, decode_data, decode_raw
from engagement.log.reader import LogEndedError, LogReader
from engagement.log.topics import partition_of
from engagement.settings import Settings

log = structlog.get_logger()

BATCH: Final = 5_000
"""Records read at once."""
ANSWER_S: Final = 5.0
"""A log that does not answer by then tells nothing."""
_AWAY: Final = (KafkaError, UnavailableError, LogEndedError, OSError, TimeoutError)


class Fates:
    """Refusals in one room, from when this was begun."""

    def __init__(self, settings: Settings, room: str) -> None:
        self._bootstrap = settings.bootstrap_servers
        self._room = room
        self._partition = 0
        self._next: int | None = None

    async def begin(self) -> None:
        """Note where the topic ends now."""
        try:
            async with (
                asyncio.timeout(ANSWER_S),
                LogReader(self._bootstrap, ACTIVITY_TOPIC) as reader,
            ):
                partitions = await reader.partitions()
                self._partition = partition_of(self._room, partitions)
                self._next = (await reader.ends(partitions))[self._partition]
        except _AWAY as error:
            log.warning("refusals are not known: the log does not answer", error=repr(error))

    async def of(self, requests: Set[str]) -> dict[str, str]:
        """Why some of these requests became nothing that viewers see, by request id."""
        if self._next is None or not requests:
            return {}
        told: dict[str, str] = {}
        try:
            async with asyncio.timeout(ANSWER_S):
                await self._read(self._next, requests, told)
        except _AWAY as error:
            log.warning("refusals are not known: the log does not answer", error=repr(error))
        return told

    async def _read(self, start: int, requests: Set[str], told: dict[str, str]) -> None:
        async with LogReader(self._bootstrap, ACTIVITY_TOPIC) as reader:
            end = (await reader.ends(self._partition + 1))[self._partition]
            await reader.assign({self._partition: start})
            async for records in reader.read_to({self._partition: end}, BATCH):
                for record in records:
                    about = self._fate(record.value)
                    if about is not None and about[0] in requests:
                        told[about[0]] = about[1]

    def _fate(self, value: bytes | None) -> tuple[str, str] | None:
        try:
            fact = decode_raw(value)
            if fact.roomid != self._room:
                return None
            if fact.type == "comment.held":
                return fact.id, "held"
            if fact.type == "request.refused":
                data = decode_data(fact)
                return data.request, data.code
        except PoisonError:
            pass
        return None
