"""Clients of a gateway as anybody would write them: posting over HTTP, watching over WebSocket."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final

import httpx
import msgspec
import websockets

from engagement.domain.events import unix_us
from engagement.settings import Settings
from engagement.tokens import signed

ANSWER_S: Final = 30.0
"""A call is repeated for so long; a gateway restarts in 2 s, a worker in 4."""
RETRY_S: Final = 0.3
RETRY_S_MAX: Final = 1.5
TERMINAL_CODES: Final = (range(3500, 4000), range(4500, 5000))
"""Close codes that tell a client not to come back."""
UNANSWERED: Final = "unanswered"
"""Outcome of requests to which nobody answered in time: they may have happened or not."""
CONNECTIONS_MAX: Final = 64
TOKEN_S: Final = 24 * 3600
"""A crowd lasts a day at most."""

_ENCODE = msgspec.json.Encoder().encode
_DECODE = msgspec.json.Decoder().decode


def base_url(settings: Settings) -> str:
    """Where the gateway of these settings is."""
    return f"http://{settings.host}:{settings.port}"


def headers_of(settings: Settings, user: str, role: str) -> dict[str, str]:
    """How this user names himself: a token where we can sign one, else the dev header."""
    if settings.auth == "dev" or not settings.jwt_secret:
        return {"X-User": user, "X-Role": role}
    text = signed(settings, user=user, role=role, lifetime_s=TOKEN_S)
    return {"Authorization": f"Bearer {text}"}


class Poster:
    """Posts requests as many users; repeats with the same ids until somebody answers."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._headers: dict[tuple[str, str], dict[str, str]] = {}
        self._client = httpx.AsyncClient(
            base_url=base_url(settings),
            trust_env=False,
            timeout=15,
            limits=httpx.Limits(max_connections=CONNECTIONS_MAX),
        )
        self.outcomes: Counter[str] = Counter()
        self.retries = 0

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    def headers(self, user: str, role: str) -> dict[str, str]:
        """As :func:`headers_of`; a token is signed once per user."""
        known = self._headers.get((user, role))
        if known is None:
            known = self._headers[user, role] = headers_of(self._settings, user, role)
        return known

    async def call(
        self, method: str, path: str, *, user: str, role: str, body: Any = None, wait_s: int = 0
    ) -> httpx.Response:
        """One call, repeated while nobody answers or the answer is 429 or 503.

        With `wait_s` the gateway is asked to answer when it knows what became of the gifts in it.

        Raises ConnectionError when that lasts `ANSWER_S`.
        """
        content = None if body is None else _ENCODE(body)
        headers = self.headers(user, role)
        if wait_s:
            headers = {**headers, "Prefer": f"wait={wait_s}"}
        deadline_s = time.monotonic() + ANSWER_S
        pause_s = RETRY_S
        what = "nobody"
        while time.monotonic() < deadline_s:
            try:
                answer = await self._client.request(method, path, content=content, headers=headers)
                if answer.status_code not in (429, 503):
                    return answer
                what = f"{answer.status_code} at last"
            except httpx.TransportError as error:
                what = f"{type(error).__name__} at last"
            self.retries += 1
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, RETRY_S_MAX)
        raise ConnectionError(f"{method} {path}: no answer within {ANSWER_S:.0f} s ({what})")

    async def post(
        self,
        room: str,
        requests: Sequence[dict[str, Any]],
        *,
        user: str,
        role: str = "viewer",
        wait_s: int = 0,
    ) -> list[dict[str, Any]]:
        """Post an array of requests; the result of each, in order.

        Requests that nobody answered have the status `unanswered`.
        """
        path = f"/v1/rooms/{room}/events"
        results: list[dict[str, Any]]
        try:
            answer = await self.call(
                "POST", path, user=user, role=role, body=list(requests), wait_s=wait_s
            )
        except ConnectionError:
            results = [{"id": one["id"], "status": UNANSWERED} for one in requests]
        else:
            if answer.status_code == httpx.codes.ACCEPTED:
                results = answer.json()["results"]
            else:
                code = _code_of(answer)
                results = [
                    {"id": one["id"], "status": "rejected", "code": code} for one in requests
                ]
        for result in results:
            named = [result["status"], result.get("code")]
            self.outcomes[": ".join(filter(None, named))] += 1
        return results


def _code_of(answer: httpx.Response) -> str:
    """The problem's code; what a proxy in between says has none."""
    try:
        return str(answer.json()["code"])
    except (ValueError, KeyError, TypeError):
        return str(answer.status_code)


def _check_may_return(closed: websockets.ConnectionClosed) -> None:
    frame = closed.rcvd
    if frame is not None and any(frame.code in codes for codes in TERMINAL_CODES):
        raise ConnectionRefusedError(f"told not to come back: {frame.code} {frame.reason}")


class Viewer:
    """One socket of a room: resumes by cursor, notes when each event came, and what came twice."""

    def __init__(self, poster: Poster, settings: Settings, room: str, user: str) -> None:
        self._poster = poster
        self._url = f"ws://{settings.host}:{settings.port}/v1/rooms/{room}/live"
        self._user = user
        self._cursor = ""
        self.seen: set[str] = set()
        self.latencies_ms: list[float] = []
        self.twice = 0
        self.skipped = 0
        self.unrecovered = 0
        self.connected = asyncio.Event()

    async def run(self, on_event: Callable[[dict[str, Any]], None] = lambda _: None) -> None:
        """Watch until cancelled, coming back after every disconnection.

        Raises ConnectionRefusedError when told not to come back.
        """
        while True:
            try:
                await self._watch(on_event)
            except websockets.ConnectionClosed as closed:
                _check_may_return(closed)
            except (OSError, websockets.WebSocketException, TimeoutError):
                pass
            await asyncio.sleep(RETRY_S)

    async def _watch(self, on_event: Callable[[dict[str, Any]], None]) -> None:
        url = self._url + (f"?cursor={self._cursor}" if self._cursor else "")
        async with websockets.connect(
            url,
            additional_headers=self._poster.headers(self._user, "viewer"),
            subprotocols=[websockets.Subprotocol("engagement.v1")],
            compression=None,
            max_size=8 * 1024 * 1024,
            proxy=None,
        ) as socket:
            while True:  # Iterating would take a polite close for the end.
                self._take(_DECODE(await socket.recv()), on_event)

    def _take(self, frame: dict[str, Any], on_event: Callable[[dict[str, Any]], None]) -> None:
        kind = frame["t"]
        if kind == "hello":
            if self._cursor and not frame["recovered"]:
                self.unrecovered += 1
            self._cursor = frame["cursor"]
            self.connected.set()
        elif kind == "events":
            now_us = time.time_ns() // 1000
            self._cursor = frame["cursor"]
            for event in frame["events"]:
                if event["id"] in self.seen:
                    self.twice += 1
                    continue
                self.seen.add(event["id"])
                if event["type"] in ("comment.posted", "gift.sent"):
                    self.latencies_ms.append((now_us - unix_us(event["time"])) / 1000)
                on_event(event)
        elif kind == "skipped":
            self.skipped += sum(frame["counts"].values())
