"""What could not be decoded or applied, kept with its reason and position."""

from typing import Any

import structlog
from prometheus_client import Counter

from engagement.domain.limits import RECORD_BYTES_MAX
from engagement.log.topics import DEAD_LETTER_TOPIC
from engagement.log.writer import LogWriter

log = structlog.get_logger()

DEAD_LETTERS = Counter("engagement_dead_letters_total", "Records set aside as poison.", ["source"])

DEAD_LETTER_PARTITION = 0


_VALUE_BYTES_MAX = RECORD_BYTES_MAX - 16 * 1024
"""Our headers and the key go beside it; of a larger record its position must do."""

Letter = tuple[str, int, bytes | None, Any, tuple[tuple[str, bytes], ...]]
"""Topic, partition, key, value and headers of a record."""


def dead_letter(record: Any, reason: str) -> Letter:
    """What sets a consumed record aside; key and value stay as they were."""
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
    key, value = record.key, record.value
    if len(value or b"") + len(key or b"") > _VALUE_BYTES_MAX:
        key, value = None, b""
    return DEAD_LETTER_TOPIC, DEAD_LETTER_PARTITION, key, value, headers


class DeadLetters:
    """Writes poison records to the dead-letter topic, so that the flow goes on."""

    def __init__(self, writer: LogWriter) -> None:
        self._writer = writer

    def put(self, record: Any, reason: str) -> None:
        """Set a consumed record aside."""
        self._writer.append(*dead_letter(record, reason))
