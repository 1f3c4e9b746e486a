"""MediaMTX over HTTP: its control API, WHIP and WHEP, and playlists. Refusals are typed errors."""

from typing import Any, Literal
from urllib.parse import quote, urljoin

import httpx
from msgspec import Struct

from engagement.errors import (
    BadRequestError,
    ConflictError,
    NotFoundError,
    UnauthorizedError,
    UnavailableError,
)
from media.mediamtx import bounds

_KICKED: dict[str, str] = {
    "webRTCSession": "webrtcsessions",
    "rtmpConn": "rtmpconns",
    "srtConn": "srtconns",
}
"""Where a publisher is kicked, by the type of its path's source."""


class Addresses(Struct, frozen=True):
    """Where a MediaMTX listens."""

    api: str
    webrtc: str
    hls: str


class Source(Struct, frozen=True):
    """Who publishes on a path."""

    kind: str
    id: str
    since: str
    """As MediaMTX writes it: another one is another publication."""


class MediaMtx:
    """One server."""

    def __init__(self, addresses: Addresses) -> None:
        self.addresses = addresses
        self._http = httpx.AsyncClient(
            trust_env=False,
            timeout=bounds.ANSWER_S,
            follow_redirects=True,  # HLS sessions begin with one.
            limits=httpx.Limits(max_connections=256),
        )

    async def close(self) -> None:
        """No more requests."""
        await self._http.aclose()

    async def publishers(self) -> dict[str, Source]:
        """Paths that somebody publishes on. Raises UnavailableError."""
        answer = await self._asked(
            "GET", f"{self.addresses.api}/v3/paths/list", params={"itemsPerPage": bounds.PATHS_MAX}
        )
        found: dict[str, Source] = {}
        try:
            for item in answer.json()["items"]:
                source = item.get("source") or {}
                if item.get("ready") or item.get("available"):
                    since = item.get("readyTime") or item.get("availableTime") or ""
                    found[item["name"]] = Source(
                        str(source.get("type", "")), str(source.get("id", "")), str(since)
                    )
        except (ValueError, KeyError, TypeError, AttributeError):
            raise _unavailable("its control API answers something else") from None
        return found

    async def kick(self, source: Source) -> None:
        """End a publisher's connection; one that is gone is no error. Raises UnavailableError."""
        kind = _KICKED.get(source.kind)
        if kind is not None:
            url = f"{self.addresses.api}/v3/{kind}/kick/{quote(source.id, safe='')}"
            await self._asked("POST", url)

    async def exchange(
        self, path: str, way: Literal["whip", "whep"], offer: str, key: str
    ) -> tuple[str, str]:
        """Publish or play by an offer: the answer, and the session's URL."""
        url = f"{self.addresses.webrtc}/{quote(path, safe='')}/{way}"
        headers = {"content-type": "application/sdp"}
        if key:
            headers["authorization"] = f"Bearer {key}"
        answer = await self._asked("POST", url, content=offer, headers=headers)
        if answer.status_code != 201 or "location" not in answer.headers:
            raise _refused(answer)
        return answer.text, urljoin(str(answer.url), answer.headers["location"])

    async def trickle(self, session: str, fragment: str) -> None:
        """Candidates for a session."""
        headers = {"content-type": "application/trickle-ice-sdpfrag", "if-match": "*"}
        answer = await self._asked("PATCH", session, content=fragment, headers=headers)
        if answer.status_code >= 400:
            raise _refused(answer)

    async def end(self, session: str) -> None:
        """End a session; one that is gone is no error. Raises UnavailableError."""
        await self._asked("DELETE", session)

    async def playlist(self, url: str, *, segment: int | None = None, part: int = 0) -> str:
        """A playlist, with a segment and part that are waited for. Raises NotFoundError for none,
        UnavailableError."""
        params = {} if segment is None else {"_HLS_msn": segment, "_HLS_part": part}
        answer = await self._asked("GET", url, params=params, timeout=bounds.RELOAD_S)
        if answer.status_code != 200 or len(answer.content) > bounds.PLAYLIST_BYTES_MAX:
            raise NotFoundError("no playlist", code="stream_not_found")
        return answer.text

    async def _asked(self, method: str, url: str, **how: Any) -> httpx.Response:
        try:
            answer = await self._http.request(method, url, **how)
        except httpx.HTTPError as error:
            raise _unavailable(repr(error)) from None
        if answer.status_code >= 500:
            raise _unavailable(f"it answers {answer.status_code}")
        return answer


def _refused(answer: httpx.Response) -> Exception:
    """What a refusal of MediaMTX' means to who asked."""
    if answer.status_code in (401, 403):
        return UnauthorizedError("MediaMTX refuses the key")
    if answer.status_code == 404:
        return NotFoundError("MediaMTX has no such stream", code="stream_not_found")
    if answer.status_code == 409:
        return ConflictError("MediaMTX has a publisher there", code="already_publishing")
    return BadRequestError(
        f"MediaMTX refuses: {answer.text[:200]}", code="engine_refused"
    )  # fmt: skip


def _unavailable(why: str) -> UnavailableError:
    return UnavailableError(f"MediaMTX is out of reach: {why}", code="engine_lost", retry_after_s=2)
