"""`engagement topics`: create what is missing, and tell what differs from the declaration."""

import asyncio

from rich.console import Console
from rich.table import Table

from engagement.log import admin
from engagement.settings import Settings


def topics(settings: Settings, *, check: bool) -> int:
    """Exit code 0 when all topics are as declared, 1 otherwise."""
    return asyncio.run(_topics(settings, check=check))


async def _topics(settings: Settings, *, check: bool) -> int:
    console = Console()
    await admin.wait_for_broker(settings.bootstrap_servers, timeout_s=10)
    if not check:
        created = await admin.create_topics(settings)
        console.print(f"created: {', '.join(created) or 'nothing, all were there'}")
    differences = await admin.compare_topics(settings)
    if not differences:
        console.print("all topics are as declared")
        return 0
    table = Table("topic", "what", "declared", "found")
    for difference in differences:
        table.add_row(difference.topic, difference.what, difference.declared, difference.found)
    console.print(table)
    return 1
