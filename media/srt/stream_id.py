"""What a publisher says in its SRT stream id: which room, and its key. Pure.

Two forms are understood: that of SRT's access control guidelines, `#!::r=<room>,m=publish,s=<key>`
(`r` resource, `m` mode, `s` session), and one for encoders whose field takes no `#`,
`publish:<room>:<key>` (no room's name holds a colon). Either may come with its URL's escapes: not
every encoder resolves them (FFmpeg does from version 6 on).
"""

from typing import Final
from urllib.parse import quote, unquote

from msgspec import Struct

from engagement.errors import BadRequestError
from media.srt import bounds

_STANDARD: Final = "#!::"
_PLAIN: Final = "publish:"
_EXPECTED: Final = "the stream id has to be publish:<room>:<key> or #!::r=<room>,m=publish,s=<key>"


class StreamId(Struct, frozen=True):
    """Who wants to publish where."""

    room: str
    key: str
    """Empty when there is none."""


def parse_stream_id(text: str) -> StreamId:
    """Read a stream id. Raises BadRequestError with the form that is expected."""
    if len(text) > bounds.STREAM_ID_CHARS_MAX:
        raise _refusal()
    if text.lower().startswith((quote(_STANDARD, safe="").lower(), quote(_PLAIN, safe="").lower())):
        text = unquote(text)
    if text.startswith(_STANDARD):
        return _standard(text.removeprefix(_STANDARD))
    if text.startswith(_PLAIN):
        room, _, key = text.removeprefix(_PLAIN).partition(":")
        return StreamId(room, key)
    raise _refusal()


def _standard(text: str) -> StreamId:
    given: dict[str, str] = {}
    for item in text.split(","):
        name, separator, value = item.partition("=")
        if not separator or name in given:
            raise _refusal()
        given[name] = value
    if given.get("m", "request") != "publish":
        raise BadRequestError(
            "this port takes streams in (m=publish); watch over WebRTC or HLS", code="bad_mode"
        )
    if "r" not in given:
        raise _refusal()
    return StreamId(given["r"], given.get("s", ""))


def _refusal() -> BadRequestError:
    return BadRequestError(_EXPECTED, code="bad_stream_id")
