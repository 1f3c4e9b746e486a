"""`engagement import`: a recording becomes a room with a working timeline; a report says how."""

import asyncio
import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from engagement.commands.progress import counted
from engagement.domain.names import is_actor_id, is_room_id
from engagement.errors import BadRequestError
from engagement.log import admin
from engagement.recordings.formats import FORMATS
from engagement.recordings.importer import Importer
from engagement.recordings.plan import ImportPlan, plan_import
from engagement.recordings.rows import LINES_NAMED_MAX, Recording, read_recording
from engagement.settings import Settings


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
    plan = plan_import(recording, room=room, host=host, title=title)
    written, there = asyncio.run(_run(settings, room, plan))
    report = {
        "room": room,
        **_account(recording),
        "written": written,
        "already_there": there,
        "clock": _clock(plan),
    }
    _show(report, as_json=as_json)
    return 0


async def _run(settings: Settings, room: str, plan: ImportPlan) -> tuple[int, int]:
    await admin.wait_for_broker(settings.bootstrap_servers, timeout_s=5)
    with counted("importing") as tell:
        return await Importer(settings, room).run(plan, tell)


def _account(recording: Recording) -> dict[str, Any]:
    return {
        "rows_read": recording.lines_read,
        "events": recording.counts(),
        "merged": recording.merged,
        "out_of_order": recording.out_of_order,
        "truncated": recording.truncated,
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
        "steps": len(segments) - 1,
        "largest_step_ms": round(max(map(abs, plan.fit.steps_ms), default=0.0), 1),
        "drift_ppm": round(longest.drift_ppm, 2),
        "outliers": plan.fit.outliers,
        "anchors": len(plan.anchors),
        "residual_ms": {
            "p50": round(errors[len(errors) // 2], 2),
            "p99": round(errors[int(len(errors) * 0.99)], 2),
            "max": round(errors[-1], 2),
        },
    }


def _show(report: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(report, indent=1))
        return
    table = Table("what", "how much", show_header=False)
    for name, value in report.items():
        if name == "skipped":
            for reason, skipped in value.items():
                lines = ", ".join(map(str, skipped["lines"]))
                table.add_row(f"skipped: {reason}", f"{skipped['rows']} (lines {lines})")
        elif isinstance(value, dict):
            for key, part in value.items():
                table.add_row(f"{name}: {key}", str(part))
        else:
            table.add_row(name, str(value))
    Console().print(table)
