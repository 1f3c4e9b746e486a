"""`engagement verify`: proves that projection = fold(log), and that stamps follow from anchors."""

import asyncio

from rich.console import Console

from engagement.commands.progress import counted
from engagement.commands.rebuild import chosen
from engagement.database.connection import create_engine
from engagement.settings import Settings
from projections.shadow import Shadow

STAMPS = "stamps"


def verify(settings: Settings, name: str | None) -> int:
    """Exit code 0 when all is equal, 1 otherwise, with the first wrong offset named."""
    codes = []
    if name != STAMPS:
        codes.append(asyncio.run(_verify_projections(settings, name)))
    if name in (None, STAMPS):
        from engagement.commands.verify_stamps import verify_stamps

        codes.append(verify_stamps(settings))
    return max(codes)


async def _verify_projections(settings: Settings, name: str | None) -> int:
    console = Console()
    engine = create_engine(settings)
    try:
        shadow = Shadow(engine, settings.bootstrap_servers, chosen(name))
        with counted("folding the log") as tell:
            async with shadow.caught_up(tell) as connection:
                difference = await shadow.difference(connection)
    finally:
        await engine.dispose()
    if difference is None:
        console.print(f"[green]equal[/]: the projections are the fold of {shadow.folded} facts")
        return 0
    console.print(
        f"[red]different[/]: {difference.table}, partition {difference.partition}, "
        f"offset {difference.offset}: {difference.what}"
    )
    return 1
