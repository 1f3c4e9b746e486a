"""`engagement verify ledger`: the ledger again from its requests, and every coin to its end."""

from rich.console import Console

from engagement.commands.progress import counted
from engagement.database.connection import create_engine
from engagement.settings import Settings
from engagement.verification.ledger import Verified
from engagement.verification.ledger import verify_ledger as derive


def verify_ledger(settings: Settings) -> int:
    """Exit code 0 when tables, topics, rooms and battles are as the requests make them, else 1."""
    import uvloop

    found = uvloop.run(_verify(settings))
    console = Console()
    if found.difference is not None:
        console.print("[red]different[/]. First difference:")
        console.print(str(found.difference), markup=False, highlight=False, soft_wrap=True)
        return 1
    rooms, battles = found.rooms, found.battles
    console.print(
        f"[green]equal[/]: {found.requests} requests make the ledger's tables and its "
        f"{found.facts} facts ({found.records} records, {found.entries} entries, "
        f"{found.poison} set aside)"
    )
    console.print(
        f"wallets paid {rooms.paid} coins for {rooms.gifts} gifts = {rooms.sent} in rooms; "
        f"{rooms.reversed} reversed = {rooms.taken_back} in rooms; hosts earned {rooms.earned}, "
        f"the house {rooms.paid - rooms.reversed - rooms.earned}"
    )
    console.print(
        f"{battles.ended} battles ended: {battles.scored} coins scored {battles.points} points, "
        f"{battles.late} were late"
    )
    return 0


async def _verify(settings: Settings) -> Verified:
    engine = create_engine(settings, pool_size=1)
    try:
        with counted("deriving the ledger") as tell:
            return await derive(engine, settings.bootstrap_servers, tell)
    finally:
        await engine.dispose()
