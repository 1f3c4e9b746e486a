"""`engagement rebuild`: projections anew from offset 0, beside the live ones; compared; swapped."""

import asyncio

from rich.console import Console

from engagement.commands.progress import counted
from engagement.database.connection import create_engine
from engagement.errors import BadRequestError
from engagement.settings import Settings
from projections.projection import Projection
from projections.registry import PROJECTIONS, named
from projections.shadow import Shadow


def chosen(name: str | None) -> tuple[Projection, ...]:
    """The projections of this name, or all. Raises BadRequestError for an unknown name."""
    try:
        return named(name)
    except KeyError:
        names = ", ".join(projection.name for projection in PROJECTIONS)
        raise BadRequestError(
            f"no projection is called {name!r}; there are {names}", code="unknown_projection"
        ) from None


def rebuild(settings: Settings, name: str | None) -> int:
    """Exit code 0: the rebuilt tables are live now, whether or not they differed."""
    return asyncio.run(_rebuild(settings, name))


async def _rebuild(settings: Settings, name: str | None) -> int:
    console = Console()
    engine = create_engine(settings)
    try:
        shadow = Shadow(engine, settings.bootstrap_servers, chosen(name))
        with counted("rebuilding") as tell:
            async with shadow.caught_up(tell) as connection:
                difference = await shadow.difference(connection)
                await shadow.swap(connection)
    finally:
        await engine.dispose()
    console.print(f"{shadow.folded} facts folded")
    if difference is None:
        console.print("equal to what was live; swapped in")
    else:
        console.print(
            f"[yellow]differed[/] first in {difference.table} at partition "
            f"{difference.partition}, offset {difference.offset}: {difference.what}; swapped in"
        )
    return 0
