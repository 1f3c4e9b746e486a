"""Record headers of facts: what they are, and their place in the order of decision.

A partition's facts go to two topics, which have no order between them. Each record therefore
carries how many facts the partition had decided before it, and which life of which worker wrote
it: two that write to one partition at the same time are found out by that.
"""

from collections.abc import Iterable
from typing import Final

from engagement.log.codec import CONTENT_TYPE

ORDER: Final = "order"
WRITER: Final = "writer"


def fact_headers(order: int, writer: bytes) -> tuple[tuple[str, bytes], ...]:
    """The headers of the fact that was decided `order`-th in its partition."""
    return (CONTENT_TYPE, (ORDER, b"%d" % order), (WRITER, writer))


def order_of(headers: Iterable[tuple[str, bytes]]) -> int:
    """A record's place in the order of decision; 0 when it has none."""
    for name, value in headers:
        if name == ORDER and value.isdigit() and len(value) < 19:
            return int(value)
    return 0


def writer_of(headers: Iterable[tuple[str, bytes]]) -> bytes:
    """Who wrote a record; empty when it does not say."""
    for name, value in headers:
        if name == WRITER:
            return value
    return b""
