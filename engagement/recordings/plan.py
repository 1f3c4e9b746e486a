"""What an import will write: anchors for the clock topic and requests with their anchors. Pure."""

import hashlib
from collections.abc import Iterator, Sequence
from typing import Final

from msgspec import UNSET, Struct, UnsetType

from engagement.domain import limits, requests
from engagement.domain.clock_events import ClockKind, clock_event
from engagement.domain.envelope import Accepted
from engagement.domain.events import Decided
from engagement.domain.media_time import Anchor, stamp
from engagement.domain.names import derived_id
from engagement.recordings.clock_fit import ClockFit, Point, fit_clock
from engagement.recordings.past import RoomPast
from engagement.recordings.reading import Recording
from engagement.recordings.row_requests import request_id, requests_of, still_to_ask
from engagement.recordings.rows import Row

ENGINE: Final = "recording"
RATE: Final = 90_000
ROUNDING_MS: Final = 1.0


class OffClock(Struct, frozen=True):
    """A row whose own media offset is outside of the stated uncertainty of its stamp."""

    line: int
    residual_ms: float


class ImportPlan(Struct, frozen=True):
    """Everything that an import writes, in order."""

    opening: Accepted
    requests: list[Accepted]
    """What the room does not know yet; `anchor` is an index into `anchors`."""
    already_there: int
    """How many requests of the recording the room does know."""
    closing: Accepted
    anchors: list[Anchor]
    """The last one ends the epoch; only the closing is stamped with it."""
    steps: list[bool]
    """Whether each anchor announces a step."""
    fit: ClockFit | None
    residuals_ms: list[float]
    """Stamped media time minus the row's own, for every row that had one."""
    off_clock: list[OffClock]


def plan_import(
    recording: Recording, *, room: str, host: str, title: str, past: RoomPast | None = None
) -> ImportPlan:
    """Plan the import of a recording that has at least one row into a room with this past."""
    past = past or RoomPast()
    rows = recording.rows
    first_us, last_us = rows[0].sent_us, rows[-1].sent_us
    wanted = requests_of(rows, room=room, host=host)
    ids = [one.request.id for one in wanted]
    fresh = still_to_ask(wanted, past)
    fit = fit_clock(_clock_points(rows))
    epoch = _epoch(past, ids)
    anchors, steps = _anchors(room, epoch, fit, first_us, last_us) if fit else ([], [])
    place = _AnchorPlaces(anchors)
    residuals, off_clock = _residuals(rows, anchors) if anchors else ([], [])
    opening, closing = _frame(room, host, title, _digest(ids), past.openings)
    return ImportPlan(
        opening=Accepted(room, host, "service", first_us, opening, anchor=0 if anchors else UNSET),
        requests=[
            Accepted(room, one.actor, "viewer", one.at_us, one.request, anchor=place(one.at_us))
            for one in fresh
        ],
        already_there=len(wanted) - len(fresh),
        closing=Accepted(
            room, host, "service", last_us, closing, anchor=len(anchors) - 1 if anchors else UNSET
        ),
        anchors=anchors,
        steps=steps,
        fit=fit,
        residuals_ms=residuals,
        off_clock=off_clock,
    )


class _AnchorPlaces:
    """The anchor of a time; asked in the order of time. The last one stamps no row."""

    def __init__(self, anchors: Sequence[Anchor]) -> None:
        self._anchors = anchors
        self._at = 0

    def __call__(self, at_us: int) -> int | UnsetType:
        if not self._anchors:
            return UNSET
        while self._at + 2 < len(self._anchors) and self._anchors[self._at + 1].at_us <= at_us:
            self._at += 1
        return self._at


def _residuals(
    rows: Sequence[Row], anchors: Sequence[Anchor]
) -> tuple[list[float], list[OffClock]]:
    """Stamped media time minus the row's own, once for every line that has one."""
    place = _AnchorPlaces(anchors)
    residuals: list[float] = []
    off_clock: list[OffClock] = []
    line = 0
    for row in rows:
        at = place(row.sent_us)
        if row.media_offset_ms is None or row.line == line or not isinstance(at, int):
            continue
        line = row.line
        mark = stamp(anchors[at], 0.0, row.sent_us)
        residual_ms = mark.pts_ms - row.media_offset_ms
        residuals.append(residual_ms)
        if abs(residual_ms) > (mark.err_ms or 0.0):
            off_clock.append(OffClock(row.line, residual_ms))
    return residuals, off_clock


def anchor_facts(plan: ImportPlan, room: str) -> Iterator[Decided]:
    """The plan's anchors as facts of the clock topic: an epoch from its opening to its end."""
    for number, anchor in enumerate(plan.anchors):
        kind: ClockKind = "clock.anchored"
        if number == 0:
            kind = "clock.epoch.opened"
        elif anchor.ended:
            kind = "clock.epoch.closed"
        elif plan.steps[number]:
            kind = "clock.stepped"
        yield clock_event(room, kind, anchor, engine=ENGINE)


def _epoch(past: RoomPast, ids: Sequence[str]) -> int:
    """A recording is one publication, however often its clocks stepped: one epoch.

    Also when a part of it is there already; another recording gets the next one.
    """
    known = past.epoch_of_request
    for one in ids:
        if known.get(one):
            return known[one]
    return past.newest_epoch + 1


def _frame(
    room: str, host: str, title: str, digest: str, openings: int
) -> tuple[requests.RoomOpen, requests.RoomClose]:
    """Opening and closing of the session.

    The closing's id says which recording is there whole. The opening's also counts the openings
    before: a room that was closed in the middle of an import must open again.
    """
    return (
        requests.RoomOpen(
            id=request_id(room, "open", digest, openings),
            data=requests.RoomOpening(
                title=title[: limits.TITLE_CHARS_MAX], host=host, recorded=True
            ),
        ),
        requests.RoomClose(
            id=request_id(room, "close", digest), data=requests.RoomClosing("recording ended")
        ),
    )


def _clock_points(rows: Sequence[Row]) -> list[Point]:
    """Rows that define the clock; all that have an offset when none of the better ones do."""
    # A line says its offset once, though it may be a gift and a comment.
    timed = {row.line: row for row in rows if row.media_offset_ms is not None}.values()
    bearing = [row for row in timed if row.bears_clock] or timed
    return [Point(row.sent_us / 1000, float(row.media_offset_ms or 0)) for row in bearing]


def _anchors(
    room: str, epoch: int, fit: ClockFit, first_us: int, last_us: int
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
            err_ms = round(segment.err_ms + ROUNDING_MS, 3)
            anchors.append(_anchor(room, epoch, at_us, segment.media_at(at_us / 1000), err_ms))
            steps.append(segment.stepped and at_us == begin_us)
    # A follower takes an anchor only when it is newer than the last.
    closed_us = max(last_us, anchors[-1].at_us + 1)
    end_ms = fit.media_at(closed_us / 1000)
    anchors.append(_anchor(room, epoch, closed_us, end_ms, anchors[-1].err_ms, ended=True))
    return anchors, [*steps, False]


def _anchor(
    room: str, epoch: int, at_us: int, pts_ms: float, err_ms: float, *, ended: bool = False
) -> Anchor:
    """Its id derives from all it says: a longer version of the recording may say otherwise."""
    about = (room, "recording-anchor", epoch, at_us, repr(pts_ms), repr(err_ms), ended)
    return Anchor(
        id=derived_id(*about),
        epoch=epoch,
        rate=RATE,
        rtp=round(pts_ms * RATE / 1000) % (1 << 32),
        pts_ms=pts_ms,
        wall_ms=at_us / 1000,
        offset_ms=0.0,
        err_ms=err_ms,
        at_us=at_us,
        ended=ended,
    )


def _digest(ids: Sequence[str]) -> str:
    return hashlib.sha256("".join(ids).encode()).hexdigest()
