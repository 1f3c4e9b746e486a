"""Janus' HTTP API: one session, requests on it, and events by long poll.

Requests of plugins are answered at once or by an event with the same transaction; both look the
same from here. Everything else that Janus says about a handle goes to one listener. A Janus that
cannot be reached, or has begun anew, has forgotten everything: the session is over, and
:meth:`JanusSession.run` raises. Source: Janus' documentation, "RESTful, WebSockets, ... API".
"""

import asyncio
import secrets
from collections.abc import Callable
from typing import Any

import httpx
import structlog

from engagement.errors import UnavailableError
from media.janus import bounds

log = structlog.get_logger()


class JanusError(Exception):
    """Janus refused a request; `code` is its own, or the plugin's."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{reason} ({code})")
        self.code = code
        self.reason = reason


class JanusSession:
    """One session, from `open` until `run` has ended. Errors: JanusError for a refusal,
    UnavailableError for a Janus that does not answer."""

    def __init__(
        self, http: httpx.AsyncClient, url: str, secret: str, told: Callable[[dict[str, Any]], None]
    ) -> None:
        """`told` gets every event that answers no request; it must not raise."""
        self._http = http
        self._url = url.rstrip("/")
        self._secret = secret
        self._told = told
        self._session = 0
        self._awaited: dict[str, asyncio.Future[dict[str, Any]]] = {}

    async def open(self) -> None:
        """Create the session."""
        answer = await self._post(self._url, {"janus": "create"})
        self._session = int(answer["data"]["id"])

    async def run(self) -> None:
        """Take events until Janus is lost; raises UnavailableError then."""
        try:
            while True:
                for event in await self._poll():
                    self._take(event)
        finally:
            for waiting in self._awaited.values():
                if not waiting.done():
                    waiting.set_exception(_unavailable("it was lost"))
            self._awaited.clear()

    async def attach(self, plugin: str, about: str) -> int:
        """A handle of a plugin; `about` is for Janus' own log."""
        answer = await self._post(
            self._here, {"janus": "attach", "plugin": plugin, "opaque_id": about}
        )
        return int(answer["data"]["id"])

    async def ask(
        self, handle: int, body: dict[str, Any], jsep: dict[str, str] | None = None
    ) -> tuple[dict[str, Any], dict[str, str]]:
        """A request to a handle's plugin: its data and its SDP, if there is any."""
        if len(self._awaited) >= bounds.EVENTS_WAITING_MAX:
            raise UnavailableError("too many requests wait for Janus", retry_after_s=1)
        transaction = secrets.token_hex(8)
        waiting: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._awaited[transaction] = waiting
        message: dict[str, Any] = {"janus": "message", "body": body}
        if jsep is not None:
            message["jsep"] = jsep
        try:
            answer = await self._post(f"{self._here}/{handle}", message, transaction)
            if answer["janus"] == "ack":
                async with asyncio.timeout(bounds.ANSWER_S):
                    answer = await waiting
        except TimeoutError:
            raise _unavailable("it did not answer in time") from None
        finally:
            self._awaited.pop(transaction, None)
            waiting.cancel()
        return _checked(answer)

    async def trickle(self, handle: int, candidates: list[dict[str, Any]]) -> None:
        """Candidates of the other side."""
        await self._post(f"{self._here}/{handle}", {"janus": "trickle", "candidates": candidates})

    async def detach(self, handle: int) -> None:
        """End a handle and its connection; one that is gone already is no error."""
        try:
            await self._post(f"{self._here}/{handle}", {"janus": "detach"})
        except (JanusError, UnavailableError):
            log.debug("janus.not_detached", handle=handle)

    async def close(self) -> None:
        """End the session and everything in it."""
        try:
            await self._post(self._here, {"janus": "destroy"})
        except (JanusError, UnavailableError):
            log.debug("janus.not_destroyed")

    @property
    def _here(self) -> str:
        return f"{self._url}/{self._session}"

    def _take(self, event: dict[str, Any]) -> None:
        waiting = self._awaited.get(str(event.get("transaction", "")))
        if waiting is not None and event.get("janus") in ("event", "error", "success"):
            if not waiting.done():
                waiting.set_result(event)
        elif event.get("janus") != "keepalive":
            self._told(event)

    async def _poll(self) -> list[dict[str, Any]]:
        parameters: dict[str, str | int] = {"maxev": bounds.EVENTS_AT_ONCE}
        if self._secret:
            parameters["apisecret"] = self._secret
        try:
            answer = await self._http.get(self._here, params=parameters, timeout=bounds.POLL_S)
            events = answer.json()
        except (httpx.HTTPError, ValueError) as error:
            raise _unavailable(repr(error)) from None
        events = events if isinstance(events, list) else [events]
        for event in events:
            if event.get("janus") == "error":
                raise _unavailable(str(event.get("error")))  # It has forgotten the session.
        return events

    async def _post(
        self, url: str, message: dict[str, Any], transaction: str = ""
    ) -> dict[str, Any]:
        message = message | {"transaction": transaction or secrets.token_hex(8)}
        if self._secret:
            message["apisecret"] = self._secret
        try:
            sent = await self._http.post(url, json=message, timeout=bounds.ANSWER_S)
            answer = sent.json()
        except (httpx.HTTPError, ValueError) as error:
            raise _unavailable(repr(error)) from None
        if not isinstance(answer, dict) or "janus" not in answer:
            raise _unavailable("it answered with something else than Janus would")
        if answer["janus"] == "error":
            error_ = answer.get("error", {})
            raise JanusError(int(error_.get("code", 0)), str(error_.get("reason", "")))
        return answer


def _checked(answer: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """A plugin's answer, unless it is a refusal."""
    if answer.get("janus") == "error":
        refusal = answer.get("error", {})
        raise JanusError(int(refusal.get("code", 0)), str(refusal.get("reason", "")))
    data = answer.get("plugindata", {}).get("data", {})
    if "error_code" in data:
        raise JanusError(int(data["error_code"]), str(data.get("error", "")))
    return data, answer.get("jsep", {})


def _unavailable(why: str) -> UnavailableError:
    return UnavailableError(f"Janus is out of reach: {why}", code="engine_lost", retry_after_s=2)
