"""`engagement verify`: proves that projection = fold(log), that the ledger follows from its
requests and arrives whole, and that stamps follow from anchors."""

from rich.console import Console

from engagement.commands.progress import counted
from engagement.commands.rebuild import chosen
from engagement.database.connection import create_engine
from engagement.settings import Settings
from projections.verify import Verified
from projections.verify import verify as verify_projections

STAMPS = "stamps"
LEDGER = "ledger"


def verify(settings: Settings, name: str | None) -> int:
    """Exit code 0 when all is equal, 1 otherwise, with the first wrong offset named.

    `name` is a projection, `projections` for all of them, `ledger`, `stamps`, or None for
    everything.
    """
    codes = []
    if name not in (LEDGER, STAMPS):
        codes.append(_verify_projections(settings, None if name == "projections" else name))
    if name in (None, LEDGER):
        from engagement.commands.verify_ledger import verify_ledger

        codes.append(verify_ledger(settings))
    if name in (None, STAMPS):
        from engagement.commands.verify_stamps import verify_stamps

        codes.append(verify_stamps(settings))
    return max(codes)


def _verify_projections(settings: Settings, name: str | None) -> int:
    import uvloop

    found = uvloop.run(_verify(settings, name))
    console = Console()
    if found.difference is None:
        console.print(
            f"[green]equal[/]: the projections are the fold of {found.facts} facts "
            f"({found.records} records, {found.poison} set aside)"
        )
        return 0
    console.print("[red]different[/]. First difference:")
    console.print(str(found.difference), markup=False, highlight=False, soft_wrap=True)
    return 1


async def _verify(settings: Settings, name: str | None) -> Verified:
    projections = chosen(name)
    engine = create_engine(settings)
    try:
        with counted("folding the log") as tell:
            return await verify_projections(engine, settings.bootstrap_servers, projections, tell)
    finally:
        await engine.dispose()
