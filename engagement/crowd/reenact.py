"""A recording re-enacted against a running gateway: every user posts when he did, V viewers watch.

Times are scheduled, not chained: a slow answer delays nobody else's request, and latency is
counted from the acceptance that the event itself states.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from msgspec import Struct

from engagement.crowd.clients import Poster, Viewer
from engagement.crowd.schedule import Sending
from engagement.settings import Settings

SERVICE: Final = "crowd"
OWN_REQUEST_PER_S_MAX: Final = 150
"""Up to this rate every user posts for himself; beyond it a platform's backend would batch, and so
do we, as a `service`."""
BATCH_S: Final = 0.05
BATCH_MAX: Final = 500
ARRIVAL_S: Final = 15
"""How long acknowledged comments may take to arrive at the viewers."""

Tell = Callable[[int, int], None]


class Outcome(Struct, frozen=True):
    """What came of it."""

    sent: int
    outcomes: dict[str, int]
    retries: int
    viewers: int
    missing: int
    """Acknowledged comments that some viewer never got."""
    twice: int
    unrecovered: int
    skipped: int
    p50_ms: float | None
    p99_ms: float | None
    late_ms: float
    """How far behind its schedule the crowd itself fell."""


async def reenact(
    settings: Settings, room: str, sendings: Sequence[Sending], *, viewers: int, tell: Tell
) -> Outcome:
    """Run the schedule. Raises ConnectionError when the gateway does not answer."""
    poster = Poster(settings)
    watching = [Viewer(poster, settings, room, f"watcher-{number}") for number in range(viewers)]
    tasks = [asyncio.create_task(viewer.run()) for viewer in watching]
    try:
        await asyncio.wait_for(
            asyncio.gather(*(viewer.connected.wait() for viewer in watching)), 30
        )
        late_s, accepted = await _send(poster, room, sendings, tell)
        missing = await _arrive(watching, accepted)
    except TimeoutError:
        raise ConnectionError(f"the viewers cannot connect to room {room}") from None
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await poster.close()
    latencies = sorted(ms for viewer in watching for ms in viewer.latencies_ms)
    return Outcome(
        sent=len(sendings),
        outcomes=dict(poster.outcomes),
        retries=poster.retries,
        viewers=viewers,
        missing=missing,
        twice=sum(viewer.twice for viewer in watching),
        unrecovered=sum(viewer.unrecovered for viewer in watching),
        skipped=sum(viewer.skipped for viewer in watching),
        p50_ms=_quantile(latencies, 0.5),
        p99_ms=_quantile(latencies, 0.99),
        late_ms=round(late_s * 1000, 1),
    )


async def _send(
    poster: Poster, room: str, sendings: Sequence[Sending], tell: Tell
) -> tuple[float, set[str]]:
    """Post everything at its time; returns (how late we were, ids of accepted comments)."""
    accepted: set[str] = set()
    pending: set[asyncio.Task[None]] = set()
    started_s = time.monotonic()
    duration_s = max(sendings[-1].at_s, 1e-3)
    alone = len(sendings) / duration_s <= OWN_REQUEST_PER_S_MAX
    late_s = 0.0
    position = 0
    while position < len(sendings):
        now_s = time.monotonic() - started_s
        wait_s = sendings[position].at_s - now_s
        if wait_s > 0:
            await asyncio.sleep(wait_s if alone else max(wait_s, BATCH_S))
            now_s = time.monotonic() - started_s
        due = _due(sendings, position, now_s)
        late_s = max(late_s, now_s - due[0].at_s - (0 if alone else BATCH_S))
        for group in [[one] for one in due] if alone else [due]:
            task = asyncio.create_task(_post(poster, room, group, alone, accepted))
            pending.add(task)
            task.add_done_callback(pending.discard)
        position += len(due)
        tell(position, len(sendings))
    await asyncio.gather(*pending)
    return late_s, accepted


def _due(sendings: Sequence[Sending], position: int, now_s: float) -> list[Sending]:
    end = position + 1
    while end < len(sendings) and end - position < BATCH_MAX and sendings[end].at_s <= now_s:
        end += 1
    return list(sendings[position:end])


async def _post(
    poster: Poster, room: str, group: Sequence[Sending], alone: bool, accepted: set[str]
) -> None:
    if alone:
        requests: list[dict[str, Any]] = [one.request for one in group]
        results = await poster.post(room, requests, user=group[0].user)
    else:
        requests = [{**one.request, "actor": one.user} for one in group]
        results = await poster.post(room, requests, user=SERVICE, role="service")
    comments = {one.request["id"] for one in group if one.request["type"] == "comment.post"}
    accepted.update(
        result["id"]
        for result in results
        if result["status"] == "accepted" and result["id"] in comments
    )


async def _arrive(viewers: Sequence[Viewer], accepted: set[str]) -> int:
    """Wait for the last events; returns how many comments are missing, over all viewers."""
    deadline_s = time.monotonic() + ARRIVAL_S
    while True:
        missing = sum(len(accepted - viewer.seen) for viewer in viewers)
        if not missing or time.monotonic() > deadline_s:
            return missing
        await asyncio.sleep(0.05)


def _quantile(ordered: Sequence[float], share: float) -> float | None:
    if not ordered:
        return None
    return round(ordered[min(len(ordered) - 1, int(len(ordered) * share))], 2)
