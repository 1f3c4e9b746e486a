"""The engine's line to one Janus: kept open, opened anew when Janus is back, and what is asked."""

import asyncio
import hashlib
import hmac
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import httpx
import structlog

from engagement.errors import BadRequestError, ConflictError, EngagementError, UnavailableError
from media.janus import bounds
from media.janus.api import JanusError, JanusSession

log = structlog.get_logger()

PLUGIN = "janus.plugin.videoroom"
_ROOM_EXISTS, _ROOM_IS_FULL, _UNAUTHORIZED = 427, 432, 433
_WRONG_SECRET, _BAD_REQUEST = 403, 430


class JanusLine:
    """Janus' videoroom plugin. Refusals are typed errors; a Janus out of reach is
    UnavailableError."""

    def __init__(
        self,
        url: str,
        api_secret: str,
        admin_key: str,
        *,
        told: Callable[[dict[str, Any]], None],
        lost: Callable[[str], None],
    ) -> None:
        """`told` gets events about handles; `lost` is told when Janus has forgotten them all."""
        self._url = url
        self._api_secret, self._admin_key = api_secret, admin_key
        self._told, self._lost = told, lost
        self._http = httpx.AsyncClient(trust_env=False, limits=httpx.Limits(max_connections=64))
        self._session: JanusSession | None = None
        self._control = 0
        self._keeping: asyncio.Task[None] | None = None
        self._tried = asyncio.Event()

    async def open(self) -> None:
        """Begin to keep the line; returns after the first attempt, whatever came of it."""
        self._keeping = asyncio.create_task(self._keep(), name="janus-line")
        await self._tried.wait()

    async def close(self) -> None:
        """End everything of ours in Janus."""
        if self._keeping is not None:
            self._keeping.cancel()
            with suppress(asyncio.CancelledError):
                await self._keeping
        session, self._session = self._session, None
        if session is not None:
            await session.close()
        await self._http.aclose()

    # --- what is asked ----------------------------------------------------------------------------

    async def attach(self, about: str) -> int:
        """A new connection's handle."""
        session = self._here()
        try:
            return await session.attach(PLUGIN, about)
        except JanusError as error:
            raise _refused(error) from None

    async def create_room(self, room: str) -> None:
        """See to it that a room is there."""
        with suppress(_AlreadyThereError):
            await self._ask(self._control, {
                "request": "create", "room": room, "admin_key": self._admin_key,
                "secret": self._key("secret", room), "pin": self._key("pin", room),
                "permanent": False, "is_private": True,
                "publishers": bounds.PUBLISHERS_PER_ROOM,
                "bitrate": bounds.PUBLISHER_BITS_PER_S_MAX, "bitrate_cap": True,
                "videocodec": "h264,vp8", "audiocodec": "opus", "notify_joining": False,
            })  # fmt: skip

    async def publish(self, handle: int, room: str, feed: str, offer: str) -> str:
        """Janus' answer to a publisher's offer."""
        body = {
            "request": "joinandconfigure", "room": room, "pin": self._key("pin", room),
            "ptype": "publisher", "id": feed,
        }  # fmt: skip
        _, jsep = await self._ask(handle, body, {"type": "offer", "sdp": offer})
        if jsep.get("type") != "answer":
            raise BadRequestError("the offer cannot be answered", code="bad_sdp", field="$")
        return jsep["sdp"]

    async def forward(
        self, room: str, feed: str, host: str, streams: list[dict[str, int | str]]
    ) -> None:
        """Have a publisher's tracks sent to us."""
        await self._ask(self._control, {
            "request": "rtp_forward", "room": room, "publisher_id": feed,
            "secret": self._key("secret", room), "admin_key": self._admin_key,
            "host": host, "streams": streams,
        })  # fmt: skip

    async def want_key_frame(self, handle: int) -> None:
        """Have Janus ask a publisher for one."""
        await self._ask(handle, {"request": "configure", "keyframe": True})

    async def watch(self, handle: int, room: str, feed: str) -> tuple[str, list[dict[str, Any]]]:
        """Janus' offer to a viewer, and its streams."""
        data, jsep = await self._ask(handle, {
            "request": "join", "room": room, "pin": self._key("pin", room),
            "ptype": "subscriber", "streams": [{"feed": feed}], "autoupdate": False,
        })  # fmt: skip
        return jsep["sdp"], data.get("streams", [])

    async def begin_watching(self, handle: int, answer: str) -> None:
        """A viewer has answered."""
        await self._ask(handle, {"request": "start"}, {"type": "answer", "sdp": answer})

    async def watch_another(self, handle: int, streams: list[dict[str, str]]) -> None:
        """A viewer goes on with another publisher; nothing is negotiated anew."""
        await self._ask(handle, {"request": "switch", "streams": streams})

    async def trickle(self, handle: int, candidates: list[dict[str, Any]]) -> None:
        """Candidates of the other side."""
        try:
            await self._here().trickle(handle, candidates)
        except JanusError as error:
            raise _refused(error) from None

    async def detach(self, handle: int) -> None:
        """End a connection; never raises."""
        if self._session is not None:
            await self._session.detach(handle)

    # --- how --------------------------------------------------------------------------------------

    async def _ask(
        self, handle: int, body: dict[str, Any], jsep: dict[str, str] | None = None
    ) -> tuple[dict[str, Any], dict[str, str]]:
        try:
            return await self._here().ask(handle, body, jsep)
        except JanusError as error:
            raise _refused(error) from None

    def _here(self) -> JanusSession:
        if self._session is None or not self._control:
            raise UnavailableError("Janus is out of reach", code="engine_lost", retry_after_s=2)
        return self._session

    def _key(self, what: str, room: str) -> str:
        """A room's secret or pin: rooms outlive our sessions, so they derive from Janus' own."""
        key = f"{self._api_secret}\n{self._admin_key}".encode()
        return hmac.new(key, f"{what}\n{room}".encode(), hashlib.sha256).hexdigest()[:32]

    async def _keep(self) -> None:
        while True:
            session = JanusSession(self._http, self._url, self._api_secret, self._told)
            polling: asyncio.Task[None] | None = None
            try:
                await session.open()
                polling = asyncio.create_task(session.run())
                self._control = await session.attach(PLUGIN, "control")
                self._session = session
                log.info("janus.connected", url=self._url)
                self._tried.set()
                await polling
            except (UnavailableError, JanusError) as error:
                if self._session is not None or not self._tried.is_set():
                    log.warning("janus.lost", url=self._url, why=str(error))
                if self._session is not None:
                    self._session, self._control = None, 0
                    self._lost(str(error))
            finally:
                if polling is not None:
                    polling.cancel()
                    await asyncio.gather(polling, return_exceptions=True)
            self._tried.set()
            await asyncio.sleep(bounds.RETRY_S)


class _AlreadyThereError(ConflictError):
    """The room exists."""


def _refused(error: JanusError) -> EngagementError:
    """What Janus' refusal means to who asked."""
    if error.code == _ROOM_EXISTS:
        return _AlreadyThereError(error.reason)
    if error.code == _ROOM_IS_FULL:
        return ConflictError("the room has too many publishers", code="already_publishing")
    if error.code in (_WRONG_SECRET, _UNAUTHORIZED):
        log.error("janus.unauthorized", why=error.reason)
        return UnavailableError("Janus refuses our key", code="engine_lost", retry_after_s=30)
    if error.code == _BAD_REQUEST:
        log.error("janus.misconfigured", why=error.reason)
        return UnavailableError(
            f"Janus is not set up for this: {error.reason} (see docs/adr/0019)",
            code="engine_lost",
            retry_after_s=30,
        )
    return BadRequestError(f"Janus refuses: {error.reason}", code="engine_refused")
