"""HLS over HTTP: the live playlist of a room, its segments and parts, and its recordings.

Anybody may watch, from a page of any origin. What has a number never changes and is cached; what a
playlist says next is not. Sources: draft-pantos-hls-rfc8216bis sections 6.2.2 and 6.2.5, appendix
B.1 (gzip, caching).
"""

import gzip
import re
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel, Field

from engagement.errors import BadRequestError, EngagementError, NotFoundError
from media.frames import VIDEO_RATE_HZ
from media.hls import bounds, metrics
from media.hls.packager import Packager, Playlist
from media.hls.recorder import Recorder
from media.hls.recording import RecordedSegment, Recording
from media.hls.vod import render_vod
from media.problems import problem

PLAYLIST_TYPE: Final = "application/vnd.apple.mpegurl"
MEDIA_TYPE: Final = "video/mp4"
NUMBER_MAX: Final = 2**53
"""What a player in a browser can count to."""

_ANY_ORIGIN: Final = {"Access-Control-Allow-Origin": "*", "X-Content-Type-Options": "nosniff"}
_FOR_EVER: Final = {"Cache-Control": "public, max-age=31536000, immutable"} | _ANY_ORIGIN
_FOR_ALL_WHO_WAIT: Final = {"Cache-Control": "public, max-age=6"} | _ANY_ORIGIN
"""A blocked answer is the same for everyone who asks the same (appendix B.1)."""
_NOT_AT_ALL: Final = {"Cache-Control": "no-store"} | _ANY_ORIGIN
_LIVE_FILE: Final = re.compile(
    r"(?:init-(?P<header>[0-9]{1,15})\.mp4|(?P<msn>[0-9]{1,15})(?:\.(?P<part>[0-9]{1,4}))?\.m4s)"
)
_RECORDED_FILE: Final = re.compile(r"(?:init-(?P<header>[0-9]{1,9})\.mp4|(?P<n>[0-9]{1,9})\.m4s)")
_EPOCHS: Final = re.compile(r"([0-9]{1,15})(?:-([0-9]{1,15}))?")

Number = Annotated[int | None, Query(ge=0, le=NUMBER_MAX)]


class RecordingView(BaseModel):
    """One epoch on disk."""

    epoch: int
    began_ms: float = Field(description="Server time of its first frame, Unix ms")
    pts_ms: float = Field(description="Media time of its first frame")
    duration_ms: float
    bytes: int
    is_live: bool = Field(description="It is being recorded")
    url: str = Field(description="Its playlist")


class Recordings(BaseModel):
    """What there is of a room."""

    items: list[RecordingView]


def hls_router(packager: Packager) -> APIRouter:
    """The routes of live HLS, and of recordings where the packager records."""
    router = APIRouter(prefix="/v1/rooms/{room}", tags=["hls"], route_class=_ReadableByAnyPage)
    _add_live(router, packager)
    if packager.recorder is not None:
        _add_recordings(router, packager.recorder)
    return router


class _ReadableByAnyPage(APIRoute):
    """Routes whose refusals, too, a page of another origin can read."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler, with refusals as answers."""
        handler = super().get_route_handler()

        async def readable(request: Request) -> Response:
            try:
                return await handler(request)
            except EngagementError as error:
                refusal = problem(error)
                refusal.headers.update(_NOT_AT_ALL)
                return refusal

        return readable


def _add_live(router: APIRouter, packager: Packager) -> None:
    @router.get("/hls/index.m3u8", response_class=Response)
    async def live_playlist(
        room: str,
        msn: Annotated[Number, Query(alias="_HLS_msn")] = None,
        part: Annotated[Number, Query(alias="_HLS_part")] = None,
        skip: Annotated[str | None, Query(alias="_HLS_skip")] = None,
        accept_encoding: Annotated[str, Header()] = "",
    ) -> Response:
        """The live playlist; with `_HLS_msn` once it has that segment, with `_HLS_part` once it
        has that part, with `_HLS_skip=YES` without what the player knows."""
        with _counted("playlist"):
            if part is not None and msn is None:
                raise BadRequestError("_HLS_part needs _HLS_msn", field="_HLS_part")
            made = await packager.playlist(room, msn, part, skip=skip in ("YES", "v2"))
        is_blocked = msn is not None and made.is_current
        return _playlist(made, accept_encoding, _FOR_ALL_WHO_WAIT if is_blocked else _NOT_AT_ALL)

    @router.get("/hls/{name}", response_class=Response)
    async def live_media(room: str, name: str) -> Response:
        """A header `init-<n>.mp4`, a segment `<msn>.m4s` or a part `<msn>.<part>.m4s`; the part
        that the playlist hints at is waited for."""
        match = _LIVE_FILE.fullmatch(name)
        if match is None:
            raise NotFoundError("no such file", code="segment_not_found")
        with _counted("media"):
            if match["header"] is not None:
                data = packager.header(room, int(match["header"]))
            elif match["part"] is not None:
                data = await packager.part(room, int(match["msn"]), int(match["part"]))
            else:
                data = packager.segment(room, int(match["msn"]))
        return Response(data, media_type=MEDIA_TYPE, headers=_FOR_EVER)


def _add_recordings(router: APIRouter, recorder: Recorder) -> None:
    @router.get("/vod")
    async def recordings(room: str, response: Response) -> Recordings:
        """The epochs of the room that are on disk, the newest last."""
        response.headers.update(_NOT_AT_ALL)
        found = await recorder.recordings(room)
        newest = found[-bounds.RECORDINGS_LISTED_MAX :]
        views = [await _view(recorder, item) for item in newest]
        return Recordings(items=[view for view in views if view is not None])

    @router.get("/vod/{session}/index.m3u8", response_class=Response)
    async def recorded_playlist(
        room: str, session: str, accept_encoding: Annotated[str, Header()] = ""
    ) -> Response:
        """The recording of an epoch `<epoch>`, or of all from one to another, `<first>-<last>`;
        while one of them is being recorded it grows."""
        with _counted("vod_playlist"):
            first, last = _epochs(session)
            found = await recorder.recordings(room)
            epochs = [item.epoch for item in found if first <= item.epoch <= last]
            epochs = epochs[: bounds.VOD_EPOCHS_MAX]
            if not epochs:
                raise NotFoundError("no such recording", code="recording_not_found")
            is_over = not any(recorder.is_running(room, epoch) for epoch in epochs)
            indexes = [(epoch, await recorder.index(room, epoch)) for epoch in epochs]
            text = render_vod(indexes, is_over=is_over).encode()
        made = Playlist(text, gzip.compress(text, bounds.GZIP_LEVEL, mtime=0))
        return _playlist(made, accept_encoding, _NOT_AT_ALL)

    @router.get("/vod/{session}/{epoch}/{name}", response_class=Response)
    async def recorded_media(room: str, session: str, epoch: int, name: str) -> Response:
        """A header or segment of a recording, as its playlist names it."""
        first, last = _epochs(session)
        match = _RECORDED_FILE.fullmatch(name)
        if match is None or not first <= epoch <= last:
            raise NotFoundError("no such file", code="recording_not_found")
        with _counted("vod_media"):
            data = await recorder.read(room, epoch, int(match["header"] or match["n"]))
        return Response(data, media_type=MEDIA_TYPE, headers=_FOR_EVER)


async def _view(recorder: Recorder, item: Recording) -> RecordingView | None:
    entries = await recorder.index(item.room, item.epoch)
    segments = [entry for entry in entries if isinstance(entry, RecordedSegment)]
    if not segments:
        return None
    return RecordingView(
        epoch=item.epoch,
        began_ms=segments[0].server_ms,
        pts_ms=segments[0].pts_ms,
        duration_ms=sum(segment.ticks for segment in segments) * 1000 / VIDEO_RATE_HZ,
        bytes=item.size,
        is_live=recorder.is_running(item.room, item.epoch),
        url=f"/v1/rooms/{item.room}/vod/{item.epoch}/index.m3u8",
    )


def _epochs(session: str) -> tuple[int, int]:
    match = _EPOCHS.fullmatch(session)
    if match is None:
        raise NotFoundError(
            "a recording is named by its epoch, or by the first and last of several: 3 or 3-7",
            code="recording_not_found",
        )
    return int(match[1]), int(match[2] or match[1])


def _playlist(made: Playlist, accept_encoding: str, headers: dict[str, str]) -> Response:
    headers = headers | {"Vary": "Accept-Encoding"}
    if not accepts_gzip(accept_encoding):
        return Response(made.text, media_type=PLAYLIST_TYPE, headers=headers)
    headers["Content-Encoding"] = "gzip"
    return Response(made.packed, media_type=PLAYLIST_TYPE, headers=headers)


def accepts_gzip(accept_encoding: str) -> bool:
    """Whether the header allows gzip (RFC 9110, section 12.5.3)."""
    for choice in accept_encoding.lower().split(","):
        coding, _, weight = (piece.strip() for piece in choice.partition(";"))
        if coding in ("gzip", "*"):
            return weight.removeprefix("q=").strip("0.") != "" if weight else True
    return False


@contextmanager
def _counted(what: str) -> Iterator[None]:
    outcome = "ok"
    try:
        yield
    except EngagementError as error:
        outcome = error.code
        raise
    finally:
        metrics.REQUESTS.labels(what, outcome).inc()
