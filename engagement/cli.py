"""The `engagement` command line.

Exit codes: 0 done; 1 a check failed or something is wrong; 2 wrong usage; 3 something that the
command needs is not running; 70 a process of ours ended on purpose and wants to be restarted;
78 the settings forbid what was asked.

Everything is imported inside its command: a worker's start-up time is a stall that users see.
"""

import errno
import socket
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from engagement.child_process import exit_with_parent
from engagement.data_directory import as_announced
from engagement.errors import EngagementError, UnavailableError
from engagement.settings import Settings, settings

EXIT_FAILED = 1
EXIT_NOT_RUNNING = 3
EXIT_CONFIGURATION = 78

_NOBODY_THERE = {
    errno.ECONNREFUSED, errno.ECONNRESET, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ETIMEDOUT
}  # fmt: skip
_CLIENT_ERRORS = {"KafkaConnectionError", "CannotConnectNowError", "InvalidPasswordError"}

app = typer.Typer(
    name="engagement",
    help="The engagement half of a live-streaming platform.",
    epilog="Exit codes: 0 done; 1 a check failed; 2 wrong usage; 3 something that is needed does "
    "not run; 70 wants to be started again; 78 the settings forbid it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


class Format(StrEnum):
    """Formats of recorded rooms."""

    youtube = "youtube"
    tiktok = "tiktok"
    generic = "generic"


def main() -> None:
    """Entry point; typed errors become one readable line and an exit code."""
    try:
        app()
    except ValidationError as error:
        if error.title != Settings.__name__:
            raise
        for problem in error.errors(include_url=False):
            name = "ENGAGEMENT_" + "_".join(map(str, problem["loc"])).upper()
            sys.stderr.write(f"bad_settings: {name}: {problem['msg']}\n")
        sys.exit(EXIT_CONFIGURATION)
    except EngagementError as error:
        sys.stderr.write(f"{error.code}: {error.detail}\n")
        sys.exit(EXIT_NOT_RUNNING if isinstance(error, UnavailableError) else EXIT_FAILED)
    except Exception as error:
        if not _is_unreachable(error):
            raise
        sys.stderr.write(f"unreachable: {error}. Is it running? Ask `engagement doctor`.\n")
        sys.exit(EXIT_NOT_RUNNING)


def _is_unreachable(error: Exception) -> bool:
    """Whether a broker or a database does not let us in. By name: neither client is imported."""
    if isinstance(error, OSError):
        return error.errno in _NOBODY_THERE or isinstance(error, socket.gaierror)
    return type(error).__name__ in _CLIENT_ERRORS


def _child() -> Settings:
    """Settings of a process that a supervisor may have started."""
    exit_with_parent()
    return settings()


Verbose = Annotated[
    bool, typer.Option("--verbose", help="Show all that the processes log, not only warnings.")
]


@app.command()
def demo(verbose: Verbose = False) -> None:
    """Everything embedded, one live room with a synthetic crowd, and its page."""
    from engagement.commands.up import demo as run

    raise typer.Exit(run(settings(), verbose=verbose))


@app.command()
def up(
    without: Annotated[
        list[str] | None, typer.Option(help="Leave out: gateway, worker, project, media or marks.")
    ] = None,
    verbose: Verbose = False,
) -> None:
    """All processes on this machine; engines too, where no setting points elsewhere."""
    from engagement.commands.up import up as run

    raise typer.Exit(run(settings(), without=without or (), verbose=verbose))


@app.command()
def prepare() -> None:
    """Fetch what the first start of the embedded Kafka needs, for a later one without network."""
    from engagement.commands.prepare import prepare as run

    raise typer.Exit(run(settings()))


@app.command()
def gateway() -> None:
    """One gateway: HTTP, WebSockets and the page."""
    from engagement.gateway.main import run

    run(_child())


@app.command()
def worker() -> None:
    """One room worker; give each its own ENGAGEMENT_WORKER_ID."""
    from engagement.processors.main import run

    run(_child())


@app.command()
def project() -> None:
    """A projector; several share the partitions."""
    import uvloop

    from projections.main import run

    uvloop.run(run(_child()))


@app.command()
def media() -> None:
    """One media process: engines and their clock."""
    import uvloop

    from media.main import run

    uvloop.run(run(_child()))


@app.command()
def marks() -> None:
    """The follower that puts gifts and battles into the playlists as EXT-X-DATERANGE."""
    import uvloop

    from engagement.marks.main import run

    uvloop.run(run(_child()))


@app.command("demo-crowd")
def demo_crowd() -> None:
    """The crowd of `engagement demo`."""
    from engagement.commands.demo_crowd import demo_crowd as run

    raise typer.Exit(run(_child()))


@app.command("demo-video")
def demo_video() -> None:
    """The hosts of `engagement demo`: generated video, published by WHIP."""
    from engagement.commands.demo_video import demo_video as run

    raise typer.Exit(run(_child()))


@app.command()
def migrate(
    to: Annotated[str, typer.Option(help="Revision to go to; `base` removes all.")] = "head",
) -> None:
    """Bring the database's schema to this version's."""
    from engagement.commands.migrate import migrate_to

    migrate_to(settings(), to)


@app.command()
def topics(
    check: Annotated[bool, typer.Option("--check", help="Create nothing, only compare.")] = False,
    correct: Annotated[
        bool, typer.Option("--correct", help="Set the configuration of those that differ.")
    ] = False,
) -> None:
    """Create missing topics; exit 1 if any differs from its declaration."""
    from engagement.commands.topics import topics as run

    raise typer.Exit(run(settings(), check=check, correct=correct))


@app.command()
def rebuild(
    name: Annotated[str | None, typer.Argument(help="One projection; default all.")] = None,
) -> None:
    """Build projections anew from offset 0 beside the live ones, compare, swap."""
    from engagement.commands.rebuild import rebuild as run

    raise typer.Exit(run(settings(), name))


@app.command()
def verify(
    name: Annotated[
        str | None,
        typer.Argument(help="One projection, `ledger`, or `stamps`; default everything."),
    ] = None,
) -> None:
    """Prove that projections are the fold of the log, that the ledger follows from its requests
    and every coin arrives, and that stamps follow from the clock topic."""
    from engagement.commands.verify import verify as run

    raise typer.Exit(run(settings(), name))


@app.command()
def replay(
    room: str,
    from_log: Annotated[
        bool, typer.Option("--from-log", help="From the topic alone, without the database.")
    ] = False,
    compare: Annotated[
        bool, typer.Option(help="Only tell whether topic and projection are equal.")
    ] = False,
    speed: Annotated[
        float, typer.Option(min=0, help="Pace by media time, times this; 0 is at once.")
    ] = 0,
) -> None:
    """Print a room's timeline in media order, one CloudEvent a line."""
    from engagement.commands.replay import replay as run

    raise typer.Exit(run(settings(), room, from_log=from_log, compare=compare, speed=speed))


@app.command("import")
def import_recording(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, readable=True)],
    room: Annotated[str, typer.Option(help="Room to make of it.")],
    format: Annotated[Format, typer.Option()],
    host: Annotated[str, typer.Option(help="Host of the room.")] = "host",
    title: Annotated[str, typer.Option(help="Title; default the file's name.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Report as JSON.")] = False,
) -> None:
    """Turn a recording into a room with a working timeline."""
    from engagement.commands.import_recording import import_recording as run

    code = run(
        as_announced(settings()),
        file,
        room=room,
        format=format.value,
        host=host,
        title=title or file.stem,
        as_json=as_json,
    )
    raise typer.Exit(code)


@app.command()
def crowd(
    source: Annotated[Path, typer.Option("--from", exists=True, dir_okay=False)],
    room: Annotated[str, typer.Option()],
    format: Annotated[Format, typer.Option()] = Format.generic,
    speed: Annotated[float, typer.Option(min=0.01, help="Times real time.")] = 1,
    viewers: Annotated[int, typer.Option(min=0, help="Sockets that watch and measure.")] = 1,
    duplicates: Annotated[float, typer.Option(min=0, max=1, help="Share sent twice.")] = 0,
    reorder_ms: Annotated[int, typer.Option(min=0, help="Shuffle within this time.")] = 0,
    seed: Annotated[int, typer.Option(help="Of duplicates and reordering.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Report as JSON.")] = False,
) -> None:
    """Re-enact a recording against a running gateway as real clients."""
    from engagement.commands.crowd import crowd as run

    code = run(
        as_announced(settings()),
        source,
        room=room,
        format=format.value,
        speed=speed,
        viewers=viewers,
        duplicates=duplicates,
        reorder_ms=reorder_ms,
        seed=seed,
        as_json=as_json,
    )
    raise typer.Exit(code)


@app.command()
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Findings as JSON.")] = False,
) -> None:
    """Check every part of a running instance and say how to mend what is wrong."""
    from engagement.commands.doctor import doctor as run

    raise typer.Exit(run(as_announced(settings()), as_json=as_json))


@app.command()
def token(
    user: str,
    role: Annotated[str, typer.Option()] = "viewer",
    lifetime_s: Annotated[int, typer.Option(min=1)] = 3600,
) -> None:
    """Print a JWT signed with ENGAGEMENT_JWT_SECRET."""
    from engagement.tokens import signed as run

    typer.echo(run(settings(), user=user, role=role, lifetime_s=lifetime_s))


@app.command()
def openapi() -> None:
    """Print the OpenAPI document."""
    from engagement.commands.describe import openapi as run

    typer.echo(run())


@app.command()
def asyncapi() -> None:
    """Print the AsyncAPI document of the topics and the WebSocket."""
    from engagement.commands.describe import asyncapi as run

    typer.echo(run())


@app.command()
def schemas(
    directory: Annotated[Path, typer.Argument()] = Path("docs/schemas"),
) -> None:
    """Write one JSON Schema per event type."""
    from engagement.commands.schemas import write_schemas

    write_schemas(directory)
