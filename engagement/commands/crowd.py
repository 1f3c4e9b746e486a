"""`engagement crowd`: a recording re-enacted as a load of real clients."""

import json
from collections.abc import Sequence
from pathlib import Path
from uuid import uuid4

import uvloop
from msgspec import structs
from rich.console import Console
from rich.table import Table

from engagement.commands.progress import counted
from engagement.crowd.clients import Poster
from engagement.crowd.reenact import SERVICE, Outcome, reenact
from engagement.crowd.schedule import How, coins_needed, schedule
from engagement.crowd.shop import Shop
from engagement.crowd.wallets import fill_wallets, shop_of
from engagement.domain.names import is_room_id
from engagement.errors import BadRequestError, ConflictError, UnavailableError
from engagement.recordings.formats import FORMATS
from engagement.recordings.reading import read_recording
from engagement.recordings.rows import Row
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
    """Exit code 0 when every acknowledged comment and paid gift reached every viewer, once."""
    if not is_room_id(room):
        raise BadRequestError(f"{room!r} is no room id", code="bad_room", field="--room")
    rows = read_recording(source, FORMATS[format]).rows
    if not rows:
        raise BadRequestError(f"nothing in {source} can be re-enacted", code="nothing_to_send")
    how = How(speed=speed, duplicates=duplicates, reorder_ms=reorder_ms, seed=seed)
    try:
        outcome = uvloop.run(_run(settings, room, rows, how, viewers))
    except ConnectionError as error:
        raise UnavailableError(f"{error}; is `engagement up` running?") from error
    if as_json:
        print(json.dumps(structs.asdict(outcome), indent=1))
    else:
        _show(outcome)
    return 1 if outcome.missing or outcome.twice else 0


async def _run(
    settings: Settings, room: str, rows: Sequence[Row], how: How, viewers: int
) -> Outcome:
    run = uuid4()
    poster = Poster(settings)
    try:
        await _open(poster, room)
        shop = await shop_of(poster) if any(row.gift for row in rows) else Shop()
        sendings = schedule(rows, how, run=run, shop=shop)
        if not sendings:
            raise BadRequestError("nothing of it can be re-enacted", code="nothing_to_send")
        await fill_wallets(poster, coins_needed(sendings, shop), run)
    finally:
        await poster.close()
    with counted("re-enacting") as tell:
        return await reenact(settings, room, sendings, viewers=viewers, tell=tell)


async def _open(poster: Poster, room: str) -> None:
    """Open the room unless it is. Raises EngagementError with what the gateway says."""
    path = f"/v1/rooms/{room}"
    found = await poster.call("GET", path, user=SERVICE, role="service")
    if found.is_success and found.json()["status"] == "open":
        return
    body = {"title": room, "host": "host"}
    opened = await poster.call("PUT", path, user=SERVICE, role="service", body=body)
    if not opened.is_success:
        problem = opened.json()
        raise ConflictError(
            f"room {room} cannot be opened: {problem['detail']}", code=problem["code"]
        )


def _show(outcome: Outcome) -> None:
    table = Table("what", "how much", show_header=False)
    for name, value in structs.asdict(outcome).items():
        if isinstance(value, dict):
            for key, count in sorted(value.items()):
                table.add_row(f"{name.replace('_', ' ')}: {key}", str(count))
        else:
            table.add_row(name.replace("_", " "), "-" if value is None else str(value))
    Console().print(table)
