"""Records that cannot be folded: to the dead letters first, only then past them."""

import asyncio
from types import SimpleNamespace
from typing import Any

from engagement.errors import UnavailableError
from engagement.log.dead_letters import DEAD_LETTER_PARTITION, DeadLetters
from engagement.log.topics import DEAD_LETTER_TOPIC
from engagement.log.writer import LogWriter


class PoisonBox:
    """Sets records aside; connects when the first one comes."""

    def __init__(self, bootstrap: str, *, client_id: str) -> None:
        self._writer = LogWriter(bootstrap, client_id=client_id)
        self._letters = DeadLetters(self._writer)
        self._waiting: list[Any] = []
        self._started = False

    async def __aenter__(self) -> "PoisonBox":
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._started:
            await self._writer.stop()

    def put(self, record: Any, reason: str) -> None:
        """To be set aside with the next `acknowledged`."""
        self._waiting.append((record, reason))

    async def acknowledged(self) -> None:
        """Returns when everything that was put is on the log. Raises UnavailableError."""
        if not self._waiting:
            return
        if not self._started:
            await self._writer.start()
            self._started = True
        waiting, self._waiting = self._waiting, []
        for record, reason in waiting:
            self._letters.put(_with_value(record), reason)
        try:
            await self._writer.acknowledged(DEAD_LETTER_TOPIC, DEAD_LETTER_PARTITION)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            raise UnavailableError(
                f"dead letters were not acknowledged: {error}", code="log_unavailable"
            ) from error


def _with_value(record: Any) -> Any:
    """A record without a value cannot be written as one: the headers say where it was."""
    if record.value is not None:
        return record
    return SimpleNamespace(
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        key=record.key,
        value=b"",
    )
