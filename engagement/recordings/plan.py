"""What an import will write: anchors for the clock topic and requests with their anchors. Pure."""

from collections.abc import Iterator, Sequence
from typing import Final
from uuid import uuid5

from msgspec import UNSET, Struct, UnsetType

from engagement.domain import limits, requests
from engagement.domain.envelope import Accepted
from engagement.domain.events import ClockAnchored, Decided
from engagement.domain.media_time import Anchor, Stamp
from engagement.domain.names import derived_id
from engagement.recordings.clock_fit import ClockFit, Point, fit_clock
from engagement.recordings.rows import SOURCE_NAMESPACE, Recording, Row

ENGINE: Final = "recording"
EPOCH: Final = 1
"""A recording is one publication, however often its clocks stepped."""
RATE: Final = 90_000
ROUNDING_MS: Final = 1.0


class ImportPlan(Struct, frozen=True):
    """Everything that an import writes, in order."""

    opening: Accepted
    requests: list[Accepted]
    """`anchor` is an index into `anchors`."""
    closing: Accepted
    anchors: list[Anchor]
    steps: list[bool]
    """Whether each anchor announces a step."""
    fit: ClockFit | None
    residuals_ms: list[float]
    """Stamped media time minus the row's own, for every row that had one."""


def plan_import(recording: Recording, *, room: str, host: str, title: str) -> ImportPlan:
    """Plan the import of a recording that has at least one row."""
    rows = recording.rows
    fit = fit_clock(_clock_points(rows))
    first_us, last_us = rows[0].sent_us, rows[-1].sent_us
    anchors, steps = _anchors(room, fit, first_us, last_us) if fit else ([], [])
    asked: list[Accepted] = []
    residuals: list[float] = []
    at = 0
    for row in rows:
        while at + 1 < len(anchors) and anchors[at + 1].at_us <= row.sent_us:
            at += 1
        anchor: int | UnsetType = at if anchors else UNSET
        asked.extend(_requests(room, row, anchor))
        if fit is not None and row.media_offset_ms is not None:
            residuals.append(fit.media_at(row.sent_us / 1000) - row.media_offset_ms)
    opening = requests.RoomOpen(
        id=_request_id(room, "open", first_us),
        data=requests.RoomOpening(title=title, host=host, recorded=True),
    )
    closing = requests.RoomClose(
        id=_request_id(room, "close", last_us), data=requests.RoomClosing("recording ended")
    )
    return ImportPlan(
        opening=Accepted(room, host, "service", first_us, opening, anchor=_first(anchors)),
        requests=asked,
        closing=Accepted(room, host, "service", last_us, closing, anchor=_last(anchors)),
        anchors=anchors,
        steps=steps,
        fit=fit,
        residuals_ms=residuals,
    )


def anchor_facts(plan: ImportPlan, room: str) -> Iterator[Decided]:
    """The plan's anchors as facts of the clock topic: an epoch from its opening to its end."""
    last = len(plan.anchors) - 1
    for number, anchor in enumerate(plan.anchors):
        kind = "clock.anchored"
        if number == 0:
            kind = "clock.epoch.opened"
        elif number == last:
            kind = "clock.epoch.closed"
        elif plan.steps[number]:
            kind = "clock.stepped"
        yield Decided(
            kind=kind,
            id=anchor.id,
            room=room,
            at_us=anchor.at_us,
            stamp=Stamp(anchor.epoch, round(anchor.pts_ms), anchor.err_ms, anchor.id),
            data=ClockAnchored(
                epoch=anchor.epoch,
                engine=ENGINE,
                rate=anchor.rate,
                rtp=anchor.rtp,
                pts_ms=anchor.pts_ms,
                wall_ms=anchor.wall_ms,
                offset_ms=anchor.offset_ms,
                err_ms=anchor.err_ms,
                at_us=anchor.at_us,
            ),
        )


def _clock_points(rows: Sequence[Row]) -> list[Point]:
    """Rows that define the clock; all that have an offset when none of the better ones do."""
    timed = [row for row in rows if row.media_offset_ms is not None]
    bearing = [row for row in timed if row.bears_clock] or timed
    return [Point(row.sent_us / 1000, float(row.media_offset_ms or 0)) for row in bearing]


def _anchors(
    room: str, fit: ClockFit, first_us: int, last_us: int
) -> tuple[list[Anchor], list[bool]]:
    """An anchor at every step and every `ANCHOR_INTERVAL_S` between, from first to last row."""
    anchors: list[Anchor] = []
    steps: list[bool] = []
    interval_us = limits.ANCHOR_INTERVAL_S * 1_000_000
    for number, segment in enumerate(fit.segments):
        begin_us = first_us if number == 0 else round(segment.start_ms * 1000)
        following = number + 1 < len(fit.segments)
        end_us = round(fit.segments[number + 1].start_ms * 1000) if following else last_us + 1
        for at_us in range(begin_us, max(end_us, begin_us + 1), interval_us):
            wall_ms = at_us / 1000
            pts_ms = segment.media_at(wall_ms)
            anchors.append(
                Anchor(
                    id=derived_id(room, "recording-anchor", at_us),
                    epoch=EPOCH,
                    rate=RATE,
                    rtp=round(pts_ms * RATE / 1000) % (1 << 32),
                    pts_ms=pts_ms,
                    wall_ms=wall_ms,
                    offset_ms=0.0,
                    err_ms=round(segment.err_ms + ROUNDING_MS, 3),
                    at_us=at_us,
                )
            )
            steps.append(at_us == begin_us and number > 0)
    return anchors, steps


def _requests(room: str, row: Row, anchor: int | UnsetType) -> Iterator[Accepted]:
    """One request; likes beyond what one request may hold become several."""
    if row.kind == "comment":
        request: requests.Request = requests.CommentPost(
            id=_request_id(room, *row.identity()), data=requests.CommentText(row.text)
        )
        yield Accepted(room, row.user, "viewer", row.sent_us, request, anchor=anchor)
    elif row.kind == "join":
        request = requests.RoomJoin(id=_request_id(room, *row.identity()))
        yield Accepted(room, row.user, "viewer", row.sent_us, request, anchor=anchor)
    else:
        left = row.count
        while left > 0:
            count = min(left, limits.LIKE_COUNT_MAX)
            request = requests.LikeTap(
                id=_request_id(room, *row.identity(), left), data=requests.LikeTaps(count)
            )
            yield Accepted(room, row.user, "viewer", row.sent_us, request, anchor=anchor)
            left -= count


def _request_id(room: str, *about: object) -> str:
    """The same row of the same recording always asks with the same id."""
    return str(uuid5(SOURCE_NAMESPACE, "\x1f".join([room, *map(str, about)])))


def _first(anchors: Sequence[Anchor]) -> int | UnsetType:
    return 0 if anchors else UNSET


def _last(anchors: Sequence[Anchor]) -> int | UnsetType:
    return len(anchors) - 1 if anchors else UNSET
