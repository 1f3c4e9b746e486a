"""After a run: everything that anybody can read of it, dumped to files (format: evidence.py)."""

import base64
import contextlib
import itertools
import urllib.parse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition

PAGES_OF_ITEMS = (25, 100, 500)
"""Rooms are read in pages of these sizes, in turn: small runs see seams between pages, too."""
TOPICS = {
    "room": "live.room.v1",
    "activity": "live.activity.v1",
    "dead": "live.dead-letter.v1",
    "ledger": "live.ledger.v1",
    "battle": "live.battle.v1",
}
ROWS_SQL = 'SELECT partition AS p, "offset" AS o, event_id AS id FROM timeline'
COUNTS_SQL = """
    SELECT room, coalesce(likes.total, 0) AS likes, coalesce(presence.online, 0) AS online
    FROM rooms LEFT JOIN likes USING (room) LEFT JOIN presence USING (room)
"""
"""The projections' own rows; these two are the only thing here that knows a table."""
_ENCODE = msgspec.json.Encoder().encode


async def dump_topics(bootstrap: str, directory: Path, topics: Mapping[str, str] = TOPICS) -> None:
    """Topics from the first record to the end, by the names of their files."""
    for name, topic in topics.items():
        with (directory / f"{name}.jsonl").open("wb") as file:
            async for record in _records(bootstrap, topic):
                file.write(_log_line(record) + b"\n")


async def _records(bootstrap: str, topic: str) -> Any:
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        numbers = await _partitions(consumer, topic)
        places = [TopicPartition(topic, number) for number in numbers]
        consumer.assign(places)
        await consumer.seek_to_beginning(*places)
        ends = await consumer.end_offsets(places)
        while any([await consumer.position(place) < ends[place] for place in places]):
            for records in (await consumer.getmany(timeout_ms=500, max_records=5000)).values():
                for record in records:
                    yield record
    finally:
        await consumer.stop()


async def end_offsets(bootstrap: str, topics: Mapping[str, str] = TOPICS) -> dict[Any, int]:
    """Where topics end now."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap)
    await consumer.start()
    try:
        places = [
            TopicPartition(topic, number)
            for topic in topics.values()
            for number in await _partitions(consumer, topic)
        ]
        ends: dict[Any, int] = await consumer.end_offsets(places)
        return ends
    finally:
        await consumer.stop()


async def _partitions(consumer: Any, topic: str) -> list[int]:
    cluster = await consumer._client.fetch_all_metadata()
    return sorted(cluster.partitions_for_topic(topic) or ())


def _log_line(record: Any) -> bytes:
    line: dict[str, Any] = {
        "p": record.partition,
        "o": record.offset,
        "k": (record.key or b"").decode(errors="replace"),
    }
    if record.headers:
        line["h"] = {name: value.decode(errors="replace") for name, value in record.headers}
    value = record.value or b""
    with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError):
        msgspec.json.decode(value)
        return _ENCODE(line | {"v": msgspec.Raw(value)})
    return _ENCODE(line | {"x": base64.b64encode(value).decode()})


async def dump_http(address: str, rooms: list[str], directory: Path) -> None:
    """Timeline and comments of every room, page by page, and the room itself."""
    async with aiohttp.ClientSession(
        f"http://{address}", headers={"X-User": "auditor", "X-Role": "moderator"}
    ) as session:
        for name, cursor in (("timeline", "after"), ("comments", "before")):
            with (directory / f"{name}.jsonl").open("wb") as file:
                for room, size in zip(rooms, itertools.cycle(PAGES_OF_ITEMS), strict=False):
                    path = f"/v1/rooms/{room}/{name}"
                    async for items in _pages(session, path, cursor, size):
                        file.write(b'{"room":%b,"items":%b}\n' % (_ENCODE(room), items))
        with (directory / "rooms.jsonl").open("wb") as file:
            for room in rooms:
                async with session.get(f"/v1/rooms/{room}") as answer:
                    answer.raise_for_status()
                    file.write((await answer.read()).strip() + b"\n")


class _Page(msgspec.Struct):
    items: msgspec.Raw
    next: str | None = None


_PAGE = msgspec.json.Decoder(_Page)


async def _pages(session: aiohttp.ClientSession, path: str, cursor: str, size: int) -> Any:
    query: dict[str, str] = {"limit": str(size)}
    while True:
        async with session.get(f"{path}?{urllib.parse.urlencode(query)}") as answer:
            body = await answer.read()
            if answer.status != 200:
                raise RuntimeError(f"{path}: {answer.status} {body[:200]!r}")
        page = _PAGE.decode(body)
        yield bytes(page.items)
        if page.next is None:
            return
        query[cursor] = page.next


async def dump_rows(dsn: str, directory: Path) -> None:
    """The rows of the timeline projection, and the counts of the others."""
    connection = await asyncpg.connect(dsn)
    try:
        with (directory / "counts.jsonl").open("wb") as file:
            for row in await connection.fetch(COUNTS_SQL):
                file.write(_ENCODE(dict(row)) + b"\n")
        async with connection.transaction():
            with (directory / "rows.jsonl").open("wb") as file:
                async for row in connection.cursor(ROWS_SQL, prefetch=5000):
                    line = {"p": row["p"], "o": row["o"], "id": str(row["id"])}
                    file.write(_ENCODE(line) + b"\n")
    finally:
        await connection.close()
