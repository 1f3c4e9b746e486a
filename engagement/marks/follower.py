"""Posts marks to the media process, as a platform's own backend would.

A process of its own: media follows nothing that a crowd can flood, and workers wait for nobody's
HTTP. It keeps no position. It begins a little before the end of the log, and a mark has the id of
its fact, so what is told twice is one mark.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any, Final

import httpx
import structlog
from prometheus_client import Counter

from engagement.crowd.clients import headers_of
from engagement.domain.events import ROOM_TOPIC
from engagement.domain.names import is_room_id
from engagement.log.codec import PoisonError, decode_fact
from engagement.log.tail import Followed
from engagement.marks.mark import mark_of, may_be_marked
from engagement.settings import Settings

log = structlog.get_logger()

BACK_RECORDS: Final = 200
"""Per partition, at a start: what a restart of this process has missed, while playlists have it."""
WAITING_MAX: Final = 1_000
"""Marks that wait for a media process that is away; the oldest go first. A live window holds 200
of a room."""
TRIES_MAX: Final = 5
RETRY_S: Final = 0.5
"""Between two tries: five are longer than a media process takes to start again."""
TIMEOUT_S: Final = 3.0
NOT_THERE: Final = frozenset({404})
"""The room has no video, or not of that epoch any more."""

MARKS: Final = Counter(
    "engagement_marks_total", "Marks posted to the media process, by what became of them.",
    ["outcome"],
)  # fmt: skip


class MarksFollower:
    """Takes records of the room topic, posts what of them is marked."""

    def __init__(self, settings: Settings, client: httpx.AsyncClient) -> None:
        self._base = settings.media_base
        self._settings = settings
        self._client = client
        self._waiting: deque[tuple[str, dict[str, Any]]] = deque(maxlen=WAITING_MAX)
        self._has_more = asyncio.Event()
        self.followed = Followed(ROOM_TOPIC, self.handle, BACK_RECORDS)

    def handle(self, partition: int, records: Sequence[Any]) -> None:
        """Take records in; never raises, never waits."""
        for record in records:
            if not may_be_marked(record.value):
                continue
            try:
                fact = decode_fact(record.value)
            except PoisonError:
                continue  # Who decides about facts has put it aside already.
            mark = mark_of(fact)
            if mark is None or not is_room_id(fact.room):
                continue
            if len(self._waiting) == WAITING_MAX:
                MARKS.labels("dropped").inc()
            self._waiting.append((fact.room, mark))
            self._has_more.set()

    async def run(self) -> None:
        """Post until cancelled, in the order of the log."""
        while True:
            await self._has_more.wait()
            while self._waiting:
                await self._post(*self._waiting.popleft())
            self._has_more.clear()

    def _headers(self) -> dict[str, str]:
        """Signed for each mark, which are few: a token of ours outlives no long run."""
        if self._settings.marks_token:
            return {"Authorization": f"Bearer {self._settings.marks_token}"}
        return headers_of(self._settings, "marks", "service")

    async def _post(self, room: str, mark: dict[str, Any]) -> None:
        outcome = "unanswered"
        for _ in range(TRIES_MAX):
            try:
                answer = await self._client.post(
                    f"{self._base}/v1/rooms/{room}/marks", json=mark, headers=self._headers()
                )
            except httpx.TransportError:
                await asyncio.sleep(RETRY_S)
                continue
            if answer.is_success:
                outcome = "marked"
            elif answer.status_code in NOT_THERE:
                outcome = "not_there"
            else:
                outcome = "refused"
                log.warning("marks.refused", room=room, status=answer.status_code, why=answer.text)
            break
        MARKS.labels(outcome).inc()
