"""Folding partitions into the tables of a rebuild, up to a goal."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from msgspec import Struct
from sqlalchemy.ext.asyncio import AsyncConnection

from engagement.domain import limits
from engagement.domain.events import ROOM_TOPIC
from engagement.log.reader import LogReader
from projections.projection import Projection
from projections.room_facts import Batch, FactReader
from projections.store import ProjectionStore

SCHEMA: Final = "engagement_rebuild"
"""Where the new tables grow up."""


class Folded(Struct, frozen=True):
    """How far a fold has come."""

    records: int
    facts: int


async def fold_up_to(
    connection: AsyncConnection,
    reader: LogReader,
    projections: Sequence[type[Projection]],
    facts: FactReader,
    following: dict[int, int],
    goal: Mapping[int, int],
    tell: Callable[[Folded], None],
) -> Folded:
    """Fold each partition of `following` from there up to the goal; moves `following` on.

    `connection` translates the tables' schema to `SCHEMA`, where their positions are, too.
    """
    behind = {number: at for number, at in following.items() if at < goal.get(number, 0)}
    folded = Folded(0, 0)
    if not behind:
        return folded
    await reader.assign(behind)
    ends = {number: goal[number] for number in behind}
    store = ProjectionStore(connection, ROOM_TOPIC, None, SCHEMA)
    writing: asyncio.Task[int] | None = None
    try:
        async for records in reader.read_to(ends, limits.PROJECTION_BATCH_RECORDS):
            batch = Batch(projections)
            batch.fold(records, facts, following)
            # As in the runner: fold this batch while the database writes the one before.
            if writing is not None:
                await writing
            writing = asyncio.create_task(store.write(batch))
            following.update({number: span.end for number, span in batch.spans.items()})
            folded = Folded(folded.records + len(records), folded.facts + batch.facts)
            tell(folded)
        if writing is not None:
            await writing
    finally:
        if writing is not None:
            await asyncio.gather(writing, return_exceptions=True)
    return folded
