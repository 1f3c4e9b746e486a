"""`engagement rebuild`: projections anew from offset 0, beside the live ones; compared; swapped."""

from collections.abc import Sequence

from rich.console import Console

from engagement.collector import collect_rarely
from engagement.commands.progress import counted
from engagement.database.connection import BY_KEY, POOL_SIZE, create_engine
from engagement.errors import BadRequestError
from engagement.settings import Settings
from projections.projection import Projection
from projections.rebuild import Rebuilt
from projections.rebuild import rebuild as rebuild_projections
from projections.rebuild_share import RebuildShare
from projections.registry import PROJECTIONS, named


def chosen(name: str | None) -> Sequence[type[Projection]]:
    """The projections of this name, or all. Raises BadRequestError for an unknown name."""
    try:
        return named(name)
    except KeyError:
        names = ", ".join(projection.name for projection in PROJECTIONS)
        raise BadRequestError(
            f"no projection is called {name!r}; there are {names}", code="unknown_projection"
        ) from None


def rebuild(settings: Settings, name: str | None) -> int:
    """Exit code 0: the rebuilt tables are live now, whether or not the old ones were wrong.

    Anything else is an error, and nothing was changed.
    """
    import uvloop

    done = uvloop.run(_rebuild(settings, name))
    console = Console()
    console.print(
        f"{done.facts} facts of {done.records} records folded; "
        f"the projector waited {done.pause_s * 1000:.0f} ms"
    )
    if done.difference is None:
        console.print("equal to what was live; swapped in")
    else:
        console.print("what was live [yellow]differed[/]; swapped in. First difference:")
        console.print(str(done.difference), markup=False, highlight=False, soft_wrap=True)
    return 0


async def _rebuild(settings: Settings, name: str | None) -> Rebuilt:
    projections = chosen(name)
    collect_rarely()
    engine = create_engine(settings, pool_size=POOL_SIZE, synchronous_commit="off", **BY_KEY)
    try:
        with counted("rebuilding " + (name or "all")) as tell:
            return await rebuild_projections(
                engine, settings.bootstrap_servers, projections, tell, RebuildShare()
            )
    finally:
        await engine.dispose()
