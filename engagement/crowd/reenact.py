"""A recording re-enacted against a running gateway: every user posts when he did, V viewers watch.

Times are scheduled, not chained: a slow answer delays nobody else's request, and the time to an
acknowledgement is counted from when its request was due, not from when it left. The time to a
viewer is counted from the acceptance that the event itself states. Gifts are posted apart from the
rest, because whoever sends one waits for its outcome.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final

from msgspec import Struct

from engagement.crowd.clients import Poster, Viewer
from engagement.crowd.fates import Fates
from engagement.crowd.schedule import GIFT_SEND, Sending
from engagement.settings import Settings

SERVICE: Final = "crowd"
OWN_REQUEST_PER_S_MAX: Final = 150
"""Up to this rate every user posts for himself; beyond it a platform's backend would batch, and so
do we, as a `service`."""
BATCH_S: Final = 0.05
BATCH_MAX: Final = 500
CONNECT_S: Final = 30
ARRIVAL_S: Final = 15
"""How long acknowledged comments and paid gifts may take to arrive at the viewers."""
FATES_S: Final = 2
"""From then on it is asked what became of those that have not."""
OUTCOME_S: Final = 10
"""How long a gift's outcome is waited for: less than the client waits, more than a worker's restart
takes (4 s)."""

UNKNOWN: Final = "unknown"
"""Fate of a gift whose sender was not told in time; the ledger knows it."""

Tell = Callable[[int, int], None]


class Outcome(Struct, frozen=True):
    """What came of it."""

    sent: int
    outcomes: dict[str, int]
    retries: int
    viewers: int
    missing: int
    """Acknowledged comments and paid gifts that some viewer never got."""
    refused_later: dict[str, int]
    """Acknowledged comments that the room refused or holds for review, by code."""
    gifts: dict[str, int]
    """What became of gifts: `paid`, the codes of refusals, `unknown`."""
    twice: int
    unrecovered: int
    skipped: int
    p50_ms: float | None
    p99_ms: float | None
    """From accepted to received, over all viewers, comments and gifts."""
    acked_p50_ms: float | None
    acked_p99_ms: float | None
    """From due to acknowledged, over all requests but gifts."""
    decided_p50_ms: float | None
    decided_p99_ms: float | None
    """From due to paid or refused, over all gifts."""
    late_ms: float
    """How far behind its schedule the crowd itself fell, at worst."""


class _Run:
    """What is known while the schedule runs."""

    def __init__(self, poster: Poster, room: str, alone: bool) -> None:
        self.poster = poster
        self.room = room
        self.alone = alone
        self.started_s = time.monotonic()
        self.late_s = 0.0
        self.acknowledged: set[str] = set()
        """Ids of comments and paid gifts: what viewers have to get."""
        self.acked_ms: list[float] = []
        self.gifts: dict[str, str] = {}
        """What became of each, as far as its sender was told."""
        self.decided_ms: list[float] = []

    def now_s(self) -> float:
        """Seconds after the start."""
        return time.monotonic() - self.started_s


async def reenact(
    settings: Settings, room: str, sendings: Sequence[Sending], *, viewers: int, tell: Tell
) -> Outcome:
    """Run the schedule. Raises ConnectionError when the gateway does not let viewers in."""
    poster = Poster(settings)
    watching = [Viewer(poster, settings, room, f"watcher-{number}") for number in range(viewers)]
    tasks = [asyncio.create_task(viewer.run()) for viewer in watching]
    fates = Fates(settings, room)
    try:
        await _connected(watching, tasks)
        await fates.begin()
        run = await _send(poster, room, sendings, tell)
        missing, refused = await _arrive(watching, run.acknowledged, fates)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await poster.close()
    latencies = sorted(ms for viewer in watching for ms in viewer.latencies_ms)
    acked, decided = sorted(run.acked_ms), sorted(run.decided_ms)
    return Outcome(
        sent=len(sendings),
        outcomes=dict(poster.outcomes),
        retries=poster.retries,
        viewers=viewers,
        missing=missing,
        refused_later=dict(Counter(refused.values())),
        gifts=dict(Counter(run.gifts.values())),
        twice=sum(viewer.twice for viewer in watching),
        unrecovered=sum(viewer.unrecovered for viewer in watching),
        skipped=sum(viewer.skipped for viewer in watching),
        p50_ms=_quantile(latencies, 0.5),
        p99_ms=_quantile(latencies, 0.99),
        acked_p50_ms=_quantile(acked, 0.5),
        acked_p99_ms=_quantile(acked, 0.99),
        decided_p50_ms=_quantile(decided, 0.5),
        decided_p99_ms=_quantile(decided, 0.99),
        late_ms=round(run.late_s * 1000, 1),
    )


async def _connected(watching: Sequence[Viewer], tasks: Sequence[asyncio.Task[None]]) -> None:
    async def all_are() -> None:
        await asyncio.gather(*(viewer.connected.wait() for viewer in watching))

    everyone = asyncio.create_task(all_are())
    try:
        await asyncio.wait(
            (everyone, *tasks), timeout=CONNECT_S, return_when=asyncio.FIRST_COMPLETED
        )
        for task in tasks:
            if task.done():
                task.result()
        if not everyone.done():
            raise ConnectionError(f"not all viewers could connect within {CONNECT_S} s")
    finally:
        everyone.cancel()


async def _send(poster: Poster, room: str, sendings: Sequence[Sending], tell: Tell) -> _Run:
    """Post everything at its time."""
    pending: set[asyncio.Task[None]] = set()
    duration_s = max(sendings[-1].at_s, 1e-3)
    run = _Run(poster, room, alone=len(sendings) / duration_s <= OWN_REQUEST_PER_S_MAX)
    position = 0
    while position < len(sendings):
        wait_s = sendings[position].at_s - run.now_s()
        if wait_s > 0:
            await asyncio.sleep(wait_s if run.alone else max(wait_s, BATCH_S))
        due = _due(sendings, position, run.now_s())
        run.late_s = max(run.late_s, run.now_s() - due[0].at_s - (0 if run.alone else BATCH_S))
        for group in [[one] for one in due] if run.alone else _apart(due):
            task = asyncio.create_task(_post(run, group))
            pending.add(task)
            task.add_done_callback(pending.discard)
        position += len(due)
        tell(position, len(sendings))
    await asyncio.gather(*pending)
    return run


def _due(sendings: Sequence[Sending], position: int, now_s: float) -> list[Sending]:
    end = position + 1
    while end < len(sendings) and end - position < BATCH_MAX and sendings[end].at_s <= now_s:
        end += 1
    return list(sendings[position:end])


def _apart(due: Sequence[Sending]) -> list[list[Sending]]:
    """Gifts and all else: nobody else waits for their outcome."""
    gifts = [one for one in due if one.request["type"] == GIFT_SEND]
    others = [one for one in due if one.request["type"] != GIFT_SEND]
    return [group for group in (gifts, others) if group]


async def _post(run: _Run, group: Sequence[Sending]) -> None:
    wait_s = OUTCOME_S if group[0].request["type"] == GIFT_SEND else 0
    if run.alone:
        requests: list[dict[str, Any]] = [one.request for one in group]
        results = await run.poster.post(run.room, requests, user=group[0].user, wait_s=wait_s)
    else:
        requests = [{**one.request, "actor": one.user} for one in group]
        results = await run.poster.post(
            run.room, requests, user=SERVICE, role="service", wait_s=wait_s
        )
    now_s = run.now_s()
    for one, result in zip(group, results, strict=True):
        took_ms = (now_s - one.at_s) * 1000
        if wait_s:
            _note_gift(run, one.request["id"], result, took_ms)
        # A duplicate is acknowledged too: the answer to its first try may have been lost.
        elif result["status"] in ("accepted", "duplicate"):
            run.acked_ms.append(took_ms)
            if one.request["type"] == "comment.post":
                run.acknowledged.add(one.request["id"])


def _note_gift(run: _Run, gift: str, result: dict[str, Any], took_ms: float) -> None:
    """Remember what became of a gift. A repeat is told its first outcome."""
    became = result.get("outcome") or result["status"]
    if became == "paid":
        run.acknowledged.add(gift)
        run.decided_ms.append(took_ms)
    elif became in ("refused", "rejected"):
        became = result.get("code", became)
        run.decided_ms.append(took_ms)
    else:
        became = UNKNOWN
    if run.gifts.get(gift, UNKNOWN) == UNKNOWN:
        run.gifts[gift] = became


async def _arrive(
    viewers: Sequence[Viewer], expected: set[str], fates: Fates
) -> tuple[int, dict[str, str]]:
    """Wait for the last events; returns how many are missing, over all viewers, and which of the
    expected ones the room has refused since."""
    began_s = time.monotonic()
    refused: dict[str, str] = {}
    asked = False
    while True:
        left = expected - refused.keys()
        missing = sum(len(left - viewer.seen) for viewer in viewers)
        waited_s = time.monotonic() - began_s
        if not missing:
            return 0, refused
        if waited_s > FATES_S and not asked:
            asked = True
            absent = set().union(*(left - viewer.seen for viewer in viewers))
            refused = await fates.of(absent)
        elif waited_s > ARRIVAL_S:
            return missing, refused
        await asyncio.sleep(0.05)


def _quantile(ordered: Sequence[float], share: float) -> float | None:
    if not ordered:
        return None
    return round(ordered[min(len(ordered) - 1, int(len(ordered) * share))], 2)
