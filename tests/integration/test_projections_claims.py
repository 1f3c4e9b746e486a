"""Projectors share partitions; whoever lost one commits nothing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from engagement.database.claims import Claims
from engagement.domain import limits
from engagement.errors import FencedError, PositionMovedError
from engagement.settings import Settings
from projections.registry import PROJECTIONS
from projections.room_facts import Batch, Span
from projections.store import ProjectionStore
from projections.tables import CLAIM_TABLES, LIKES, POSITIONS, PROJECTORS
from projections.timeline import TimelineProjection
from tests.waiting import until

PARTITIONS = 8


@pytest.fixture
def topic(room: str) -> str:
    return f"topic-{room}"


@asynccontextmanager
async def projector(database: AsyncEngine, topic: str) -> AsyncIterator[tuple[Claims, Any]]:
    async with database.connect() as connection:
        claims = Claims(connection, topic, PARTITIONS, CLAIM_TABLES)
        await claims.register("test")
        yield claims, connection


async def positions(database: AsyncEngine, topic: str) -> dict[int, int]:
    async with database.connect() as connection:
        statement = select(POSITIONS.c.partition, POSITIONS.c.next_offset)
        rows = await connection.execute(statement.where(POSITIONS.c.topic == topic))
        return {row.partition: row.next_offset for row in rows}


async def pid_of(connection: AsyncConnection) -> int:
    pid: int = (await connection.execute(text("SELECT pg_backend_pid()"))).scalar_one()
    await connection.rollback()
    return pid


async def let_the_lease_run_out(database: AsyncEngine, claims: Claims, by_s: float = 1) -> None:
    ago = text(f"clock_timestamp() - make_interval(secs => {by_s})")
    async with database.begin() as connection:
        mine = PROJECTORS.c.token == claims.token
        await connection.execute(update(PROJECTORS).where(mine).values(alive_until=ago))


def _now() -> datetime:
    return datetime.now(UTC)


def a_batch(**spans: tuple[int, int]) -> Batch:
    batch = Batch(PROJECTIONS)
    batch.spans = {int(name[1:]): Span(*span) for name, span in spans.items()}
    return batch


async def test_one_projector_takes_all_and_gives_half_to_the_second(
    database: AsyncEngine, topic: str
) -> None:
    async with projector(database, topic) as (first, _):
        assert set(await first.renew()) == set(range(PARTITIONS))
        async with projector(database, topic) as (second, _):
            assert second.token > first.token
            assert await second.renew() == {}, "nothing is free yet"
            kept = set(await first.renew())
            taken = set(await second.renew())
            assert (len(kept), len(taken)) == (4, 4)
            assert kept | taken == set(range(PARTITIONS))
            await second.release()
        assert set(await first.renew()) == set(range(PARTITIONS))


async def test_three_projectors_share_evenly(database: AsyncEngine, topic: str) -> None:
    async with (
        projector(database, topic) as (first, _),
        projector(database, topic) as (second, _),
        projector(database, topic) as (third, _),
    ):
        owned: list[set[int]] = []
        for _ in range(3):
            owned = [set(await each.renew()) for each in (first, second, third)]
        assert sorted(map(len, owned)) == [2, 3, 3]
        assert set.union(*owned) == set(range(PARTITIONS))


async def test_a_killed_projector_is_replaced_at_once(database: AsyncEngine, topic: str) -> None:
    """Its process is gone, so its session is: nobody waits for the lease."""
    async with (
        projector(database, topic) as (second, _),
        projector(database, topic) as (first, connection),
    ):
        await first.renew()
        pid = await pid_of(connection)
        async with database.begin() as other:
            await other.execute(text(f"SELECT pg_terminate_backend({pid})"))

        async def gone() -> bool:
            found = text(f"SELECT count(*) FROM pg_stat_activity WHERE pid = {pid}")
            async with database.connect() as looking:
                return not (await looking.execute(found)).scalar_one()

        await until(gone, "the session has ended")
        assert set(await second.renew()) == set(range(PARTITIONS))
        await connection.invalidate()


async def test_a_projector_that_stopped_loses_its_partitions_and_commits_nothing(
    database: AsyncEngine, topic: str
) -> None:
    async with (
        projector(database, topic) as (old, asleep),
        projector(database, topic) as (new, awake),
    ):
        assert set(await old.renew()) == {0, 1, 2, 3}
        assert set(await new.renew()) == {4, 5, 6, 7}, "the lease of the other half is fresh"
        await let_the_lease_run_out(database, old)
        assert set(await new.renew()) == set(range(PARTITIONS))

        batch = a_batch(p3=(0, 5))
        with pytest.raises(FencedError):
            await ProjectionStore(asleep, topic, old.token).write(batch)
        assert (await positions(database, topic))[3] == 0
        with pytest.raises(FencedError):
            await old.renew()
        await ProjectionStore(awake, topic, new.token).write(a_batch(p3=(0, 5), p4=(0, 2)))
        assert (await positions(database, topic))[3] == 5


async def test_a_projector_that_stopped_inside_a_transaction_is_cut_off(
    database: AsyncEngine, topic: str
) -> None:
    """It holds row locks, and nothing but the end of its session frees them."""
    async with (
        projector(database, topic) as (old, asleep),
        projector(database, topic) as (new, _),
    ):
        await old.renew()
        await asleep.execute(select(POSITIONS).where(POSITIONS.c.topic == topic).with_for_update())
        await let_the_lease_run_out(database, old, by_s=60)
        assert await new.renew() == {}, "the rows are locked"

        async def taken_over() -> bool:
            return len(await new.renew()) == PARTITIONS

        await until(taken_over, "the session was terminated")
        await asleep.invalidate()


async def test_a_batch_that_is_not_at_the_position_is_refused_whole(
    database: AsyncEngine, topic: str, room: str
) -> None:
    async with projector(database, topic) as (claims, connection):
        await claims.renew()
        store = ProjectionStore(connection, topic, claims.token)
        await store.write(a_batch(p1=(0, 7)))
        with pytest.raises(PositionMovedError):
            await store.write(a_batch(p0=(0, 3), p1=(0, 9)))
        assert (await positions(database, topic)) | {0: 0, 1: 7} == await positions(database, topic)
        await store.write(a_batch(p1=(7, 9)))


async def test_effect_and_position_come_together_or_not_at_all(
    database: AsyncEngine, topic: str, room: str
) -> None:
    """Raw COPY inside SQLAlchemy's `begin()` was autocommit until Core had executed something."""

    class KilledBeforeThePosition(ProjectionStore):
        async def _move(self, spans: Any) -> None:
            raise RuntimeError("killed between the effect and the position")

    async with projector(database, topic) as (claims, connection):
        await claims.renew()
        batch = a_batch(p0=(0, 3))
        timeline = TimelineProjection()
        row = (-9, 1, room, 1, 1, "comment.posted", "id", "ana", _now(), "{}")
        timeline._rows = [row]
        batch.projections = [timeline]
        with pytest.raises(RuntimeError, match="between"):
            await KilledBeforeThePosition(connection, topic, claims.token).write(batch)
    async with database.connect() as looking:
        found = await looking.execute(
            text("SELECT count(*) FROM timeline WHERE room = :room"), {"room": room}
        )
        assert found.scalar_one() == 0
    assert (await positions(database, topic))[0] == 0


async def test_a_repeat_that_the_batch_meets_costs_only_itself(
    database: AsyncEngine, topic: str, room: str
) -> None:
    async with projector(database, topic) as (claims, connection):
        await claims.renew()
        store = ProjectionStore(connection, topic, claims.token)

        async def write(start: int, end: int, *ids: str) -> int:
            batch = a_batch(p0=(start, end))
            timeline = TimelineProjection()
            timeline._rows = [
                (-7, start + n, room, 1, n, "comment.posted", each, "ana", _now(), "{}")
                for n, each in enumerate(ids)
            ]
            batch.projections = [timeline]
            return await store.write(batch)

        assert await write(0, 3, "a", "b", "c") == 3
        assert await write(3, 8, "d", "b", "e", "d", "c") == 2
    async with database.begin() as looking:
        found = await looking.execute(
            text('SELECT event_id, "offset" FROM timeline WHERE room = :room ORDER BY 2'),
            {"room": room},
        )
        assert [tuple(each) for each in found] == [
            ("a", 0), ("b", 1), ("c", 2), ("d", 3), ("e", 5),
        ]  # fmt: skip
        await looking.execute(text("DELETE FROM timeline WHERE room = :room"), {"room": room})


async def test_the_lease_outlives_a_batch_and_a_pause_between_renewals() -> None:
    assert limits.PROJECTOR_LEASE_S > 3 * limits.PROJECTOR_CLAIM_S


async def test_upserts_of_two_sessions_never_deadlock(
    engines: Settings, database: AsyncEngine, room: str
) -> None:
    """Rows are merged in the order of their keys, whatever order the facts came in."""
    from projections.upserts import given, keep_newest

    statement = keep_newest(LIKES, LIKES.c.window)
    names = [f"{room}-{n}" for n in range(200)]

    async def merge(order: list[str], base: int) -> None:
        for turn in range(10):
            rows = [(name, base + turn, 1, 0, turn, _now()) for name in order]
            async with database.begin() as connection:
                await connection.execute(statement, given(LIKES, rows))

    await asyncio.gather(merge(names, 0), merge(names[::-1], 5))
    async with database.begin() as connection:
        found = await connection.execute(select(LIKES.c.window).where(LIKES.c.room == names[0]))
        assert found.scalar_one() == 14
        await connection.execute(LIKES.delete().where(LIKES.c.room.in_(names)))
