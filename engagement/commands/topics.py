"""`engagement topics`: create what is missing, and tell what differs from the declaration."""

import asyncio

from rich.console import Console
from rich.table import Table

from engagement.log import admin
from engagement.settings import Settings

BROKER_TIMEOUT_S = 10


def topics(settings: Settings, *, check: bool, correct: bool) -> int:
    """Exit code 0 when all topics are as declared, 1 otherwise."""
    return asyncio.run(_topics(settings, check=check, correct=correct))


async def _topics(settings: Settings, *, check: bool, correct: bool) -> int:
    console = Console()
    await admin.wait_for_broker(settings.bootstrap_servers, timeout_s=BROKER_TIMEOUT_S)
    if not check:
        created = await admin.create_topics(settings)
        console.print(f"created: {', '.join(created) or 'nothing, all were there'}")
        if correct:
            await admin.correct_topics(settings)
    differences = await admin.compare_topics(settings)
    if not differences:
        console.print("all topics are as declared")
        return 0
    table = Table("topic", "what", "declared", "found", "how to mend it")
    for found in differences:
        table.add_row(found.topic, found.what, found.declared, found.found, _mend(found.what))
    console.print(table)
    return 1


def _mend(what: str) -> str:
    if what == "topic":
        return "engagement topics"
    if what == "partitions":
        # Rooms live in the partition that their name and this number give.
        return "cannot be changed: set ENGAGEMENT_PARTITIONS to what is there, or begin anew"
    if what == "replication":
        return "kafka-reassign-partitions.sh, or set ENGAGEMENT_REPLICATION"
    return "engagement topics --correct"
