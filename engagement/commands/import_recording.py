"""`engagement import`: a recording becomes a room with a working timeline; a report says how."""

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import uvloop
from msgspec import structs
from rich.console import Console
from rich.table import Table

from engagement.commands.progress import counted
from engagement.crowd.clients import base_url, headers_of
from engagement.domain.names import is_actor_id, is_room_id
from engagement.errors import BadRequestError, UnavailableError
from engagement.log import admin
from engagement.recordings.formats import FORMATS
from engagement.recordings.importer import Imported, Importer
from engagement.recordings.plan import ImportPlan
from engagement.recordings.reading import LINES_NAMED_MAX, Recording, read_recording
from engagement.settings import Settings

BROKER_S: Final = 5
READABLE_S: Final = 30
"""For the projections to catch up: they fold 50,000 events a second."""


def import_recording(
    settings: Settings,
    file: Path,
    *,
    room: str,
    format: str,
    host: str,
    title: str,
    as_json: bool,
) -> int:
    """Exit code 0 when the room holds the whole recording. Raises typed errors otherwise."""
    if not is_room_id(room):
        raise BadRequestError(f"{room!r} is no room id", code="bad_room", field="--room")
    if not is_actor_id(host):
        raise BadRequestError(f"{host!r} is no user id", code="bad_host", field="--host")
    recording = read_recording(file, FORMATS[format])
    if not recording.rows:
        _show(_account(recording), as_json=as_json)
        raise BadRequestError(
            f"nothing in {file} can be imported as {format}", code="nothing_to_import"
        )
    imported, readable = uvloop.run(_run(settings, recording, room=room, host=host, title=title))
    report = {
        "room": room,
        **_account(recording),
        "written": imported.written,
        "already_there": imported.already_there,
        "refused": imported.refused,
        "clock": _clock(imported.plan),
        "readable": readable,
    }
    _show(report, as_json=as_json)
    return 0


async def _run(
    settings: Settings, recording: Recording, *, room: str, host: str, title: str
) -> tuple[Imported, bool]:
    try:
        await admin.wait_for_broker(settings.bootstrap_servers, timeout_s=BROKER_S)
    except UnavailableError as error:
        raise UnavailableError(
            f"{error.detail}: start `engagement up`, or set ENGAGEMENT_KAFKA to a broker",
            code=error.code,
        ) from None
    with counted("importing") as tell:
        imported = await Importer(settings, room).run(recording, host=host, title=title, tell=tell)
    return imported, await _is_readable(settings, room, imported.plan.closing.request.id)


async def _is_readable(settings: Settings, room: str, closing: str) -> bool:
    """Wait until the room's timeline, as the gateway answers it, ends as the recording does.

    False when no gateway answers, or none that shows it to us, within `READABLE_S`.
    """
    headers = headers_of(settings, "importer", "service")
    deadline_s = time.monotonic() + READABLE_S
    async with httpx.AsyncClient(
        base_url=base_url(settings), headers=headers, trust_env=False, timeout=5
    ) as client:
        while time.monotonic() < deadline_s:
            try:
                answer = await client.get(
                    f"/v1/rooms/{room}/timeline", params={"types": "room.closed", "limit": 1000}
                )
            except httpx.ConnectError:
                return False
            except httpx.HTTPError:
                continue
            if answer.is_success and closing in {item["id"] for item in answer.json()["items"]}:
                return True
            await asyncio.sleep(0.1)
    return False


def _account(recording: Recording) -> dict[str, Any]:
    return {
        "rows_read": recording.lines_read,
        "events": recording.counts(),
        "merged": recording.merged,
        "out_of_order": recording.out_of_order,
        "truncated": recording.truncated,
        "paid_messages": recording.paid_messages,
        "gifts": structs.asdict(recording.gifts) if recording.gifts.rows else None,
        "source_rooms": recording.source_rooms,
        "skipped": {
            reason: {"rows": len(lines), "lines": lines[:LINES_NAMED_MAX]}
            for reason, lines in sorted(recording.skipped.items())
        },
    }


def _clock(plan: ImportPlan) -> dict[str, Any] | None:
    if plan.fit is None:
        return None
    errors = sorted(abs(residual) for residual in plan.residuals_ms)
    segments = plan.fit.segments
    longest = max(segments, key=lambda segment: segment.end_ms - segment.start_ms)
    return {
        "segments": len(segments),
        "steps": len(plan.fit.steps_ms),
        "largest_step_ms": round(max(map(abs, plan.fit.steps_ms), default=0.0), 1),
        "drift_ppm": round(longest.drift_ppm, 2),
        "outliers": plan.fit.outliers,
        "anchors": len(plan.anchors),
        "residual_ms": {
            "p50": errors[len(errors) // 2],
            "p99": errors[int(len(errors) * 0.99)],
            "max": errors[-1],
        },
        "off_clock": {
            "rows": len(plan.off_clock),
            "lines": [off.line for off in plan.off_clock[:LINES_NAMED_MAX]],
        },
    }


def _show(report: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(report, indent=1))
        return
    table = Table("what", "how much", show_header=False)
    for name, value in report.items():
        for label, text in _cells(name.replace("_", " "), value):
            table.add_row(label, text)
    Console().print(table)


def _cells(label: str, value: Any) -> Iterator[tuple[str, str]]:
    if not isinstance(value, dict):
        yield label, "-" if value is None else str(value)
    elif value.keys() == {"rows", "lines"}:
        named = ", ".join(map(str, value["lines"]))
        more = ", …" if len(value["lines"]) < value["rows"] else ""
        yield label, f"{value['rows']} (lines {named}{more})" if value["rows"] else "0"
    else:
        for key, part in value.items():
            yield from _cells(f"{label}: {key}", part)
