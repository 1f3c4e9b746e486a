"""`engagement crowd`: a recording re-enacted as a load of real clients."""

import asyncio
import json
from pathlib import Path
from uuid import uuid4

import httpx
from msgspec import structs
from rich.console import Console
from rich.table import Table

from engagement.commands.progress import counted
from engagement.crowd.clients import Poster
from engagement.crowd.reenact import Outcome, reenact
from engagement.crowd.schedule import Sending, schedule
from engagement.errors import BadRequestError, UnavailableError
from engagement.recordings.formats import FORMATS
from engagement.recordings.rows import read_recording
from engagement.settings import Settings


def crowd(
    settings: Settings,
    source: Path,
    *,
    room: str,
    format: str,
    speed: float,
    viewers: int,
    duplicates: float,
    reorder_ms: int,
    seed: int,
    as_json: bool,
) -> int:
    """Exit code 0 when every acknowledged comment reached every viewer, once; 1 otherwise."""
    rows = read_recording(source, FORMATS[format]).rows
    if not rows:
        raise BadRequestError(f"nothing in {source} can be re-enacted", code="nothing_to_send")
    sendings = schedule(
        rows,
        speed=speed,
        duplicates=duplicates,
        reorder_ms=reorder_ms,
        seed=seed,
        run=uuid4(),
    )
    try:
        outcome = asyncio.run(_run(settings, room, sendings, viewers))
    except ConnectionError as error:
        raise UnavailableError(f"{error}; is `engagement up` running?") from error
    if as_json:
        print(json.dumps(structs.asdict(outcome), indent=1))
    else:
        _show(outcome)
    return 1 if outcome.missing or outcome.twice else 0


async def _run(settings: Settings, room: str, sendings: list[Sending], viewers: int) -> Outcome:
    poster = Poster(settings)
    try:
        found = await poster.call("GET", f"/v1/rooms/{room}", user="crowd", role="service")
        if found.status_code == httpx.codes.NOT_FOUND or found.json()["status"] != "open":
            body = {"title": room, "host": "host"}
            path = f"/v1/rooms/{room}"
            await poster.call("PUT", path, user="crowd", role="service", body=body)
    finally:
        await poster.close()
    with counted("re-enacting") as tell:
        return await reenact(settings, room, sendings, viewers=viewers, tell=tell)


def _show(outcome: Outcome) -> None:
    table = Table("what", "how much", show_header=False)
    for name, value in structs.asdict(outcome).items():
        if isinstance(value, dict):
            for key, count in sorted(value.items()):
                table.add_row(key, str(count))
        else:
            table.add_row(name.replace("_", " "), "-" if value is None else str(value))
    Console().print(table)
