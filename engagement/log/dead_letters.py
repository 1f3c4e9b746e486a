"""What could not be decoded or applied, kept with its reason and position."""

from typing import Any

import structlog
from prometheus_client import Counter

from engagement.errors import TooLargeError
from engagement.log.topics import DEAD_LETTER_TOPIC
from engagement.log.writer import LogWriter

log = structlog.get_logger()

DEAD_LETTERS = Counter("engagement_dead_letters_total", "Records set aside as poison.", ["source"])

DEAD_LETTER_PARTITION = 0


class DeadLetters:
    """Writes poison records to the dead-letter topic, so that the flow goes on."""

    def __init__(self, writer: LogWriter) -> None:
        self._writer = writer

    def put(self, record: Any, reason: str) -> None:
        """Set a consumed record aside; key and value stay as they were."""
        log.warning(
            "dead letter",
            reason=reason,
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
        )
        DEAD_LETTERS.labels(record.topic).inc()
        headers = (
            ("reason", reason.encode()[:1024]),
            ("topic", record.topic.encode()),
            ("partition", str(record.partition).encode()),
            ("offset", str(record.offset).encode()),
        )
        try:
            self._writer.append(
                DEAD_LETTER_TOPIC, DEAD_LETTER_PARTITION, record.key, record.value, headers
            )
        except TooLargeError:
            # The largest record plus our headers is too large: its position must do.
            self._writer.append(DEAD_LETTER_TOPIC, DEAD_LETTER_PARTITION, None, b"", headers)
