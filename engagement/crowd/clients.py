"""Clients of a gateway as anybody would write them: posting over HTTP, watching over WebSocket."""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final

import httpx
import msgspec
import websockets

from engagement.commands.token import token
from engagement.domain.events import unix_us
from engagement.settings import Settings

RETRIES_MAX: Final = 20
RETRY_S: Final = 0.3
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
    signed = token(settings, user=user, role=role, lifetime_s=TOKEN_S)
    return {"Authorization": f"Bearer {signed}"}


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
        self, method: str, path: str, *, user: str, role: str, body: Any = None
    ) -> httpx.Response:
        """One call, repeated while nobody answers or the answer is 429 or 503."""
        content = None if body is None else _ENCODE(body)
        for attempt in range(RETRIES_MAX):
            with contextlib.suppress(httpx.TransportError):
                answer = await self._client.request(
                    method, path, content=content, headers=self.headers(user, role)
                )
                if answer.status_code not in (429, 503):
                    return answer
            self.retries += 1
            await asyncio.sleep(RETRY_S * min(attempt + 1, 5))
        raise ConnectionError(f"{method} {path}: no answer after {RETRIES_MAX} tries")

    async def post(
        self, room: str, requests: Sequence[dict[str, Any]], *, user: str, role: str = "viewer"
    ) -> list[dict[str, Any]]:
        """Post an array of requests; the result of each, in order."""
        path = f"/v1/rooms/{room}/events"
        answer = await self.call("POST", path, user=user, role=role, body=list(requests))
        results: list[dict[str, Any]]
        if answer.status_code == httpx.codes.ACCEPTED:
            results = answer.json()["results"]
        else:
            code = answer.json().get("code", str(answer.status_code))
            results = [{"id": one["id"], "status": "rejected", "code": code} for one in requests]
        for result in results:
            code = result.get("code")
            self.outcomes[result["status"] + (f": {code}" if code else "")] += 1
        return results


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
        """Watch until cancelled, coming back after every disconnection."""
        while True:
            with contextlib.suppress(OSError, websockets.WebSocketException, TimeoutError):
                await self._watch(on_event)
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
            async for frame in socket:
                self._take(_DECODE(frame), on_event)

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
                if event["type"] == "comment.posted":
                    self.latencies_ms.append((now_us - unix_us(event["time"])) / 1000)
                on_event(event)
        elif kind == "skipped":
            self.skipped += sum(frame["counts"].values())
