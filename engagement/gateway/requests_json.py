"""Reading requests: one decode for a good body, item by item for one that has a bad item.

What is refused here is refused for its form alone; the room and the sender are not known yet.
"""

import json
import re
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace

from engagement.domain import limits
from engagement.domain.requests import (
    ClientRequest,
    CommentPost,
    CommentRelease,
    CommentRemove,
    GiftSend,
)
from engagement.errors import BadRequestError, TooLargeError

Decoded = ClientRequest
"""A request of good form."""


class Malformed(Struct, frozen=True):
    """An item of bad form: it is rejected alone."""

    id: str | None
    code: str
    detail: str
    field: str | None


class Parsed(Struct, frozen=True):
    """A body, item by item in its order."""

    items: list[Decoded | Malformed]
    single: bool
    """Whether the body was one request, not an array."""


class _Named(Struct):
    """What of a bad item is told back."""

    id: Any = None


_ONE: Final = msgspec.json.Decoder(ClientRequest)
_MANY: Final = msgspec.json.Decoder(list[ClientRequest])
_RAW: Final = msgspec.json.Decoder(list[Raw])
_RAW_ONE: Final = msgspec.json.Decoder(Raw)
_NAMED: Final = msgspec.json.Decoder(_Named)
_ANY: Final = msgspec.json.Decoder(Any)

_FIELD: Final = re.compile(r"^(.*?)(?: - at `(\$[^`]*)`)?$", re.DOTALL)
_NAMED_FIELD: Final = re.compile(r"^Object (?:missing required|contains unknown) field `([^`]*)`")
_SPACED_KEY: Final = re.compile(rb'"\s+:')
_ID_CHARS_MAX: Final = 64

_BROKEN: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError)
"""What msgspec raises on bytes that are no JSON of any shape (and, deep down, on wrong values)."""


def parse(body: bytes) -> Parsed:
    """Read a request or an array of them.

    Raises BadRequestError when the body as a whole is not that, TooLargeError when it is an
    array of more than `BATCH_REQUESTS_MAX`.
    """
    single = body.lstrip(b" \t\r\n")[:1] != b"["
    try:
        good: list[Decoded] = [_ONE.decode(body)] if single else _MANY.decode(body)
        check_unique_keys(body)
    except _BROKEN:
        return Parsed(_parse_apart(body, single), single)
    if len(good) > limits.BATCH_REQUESTS_MAX:
        raise _too_many(len(good))
    return Parsed([_normal(request) for request in good], single)


def check_unique_keys(body: bytes) -> None:
    """Raise DecodeError when valid JSON names a key twice in one object (RFC 8259 leaves open
    what that means, so two readers may read two things).

    Keys are counted in the bytes (a quote and a colon, unless the quote is escaped) and again in
    the decoded objects, where doubles are gone. The count in the bytes may be too high (a text
    that begins with a colon), never too low for keys that we know: when the two are equal there
    is no double, otherwise the slow way decides.
    """
    if _SPACED_KEY.search(body) is None:
        written = body.count(b'":') - body.count(b'\\":')
        if written == _count_keys(_ANY.decode(body)):
            return
    json.loads(body, object_pairs_hook=_refuse_doubles)


def _refuse_doubles(pairs: list[tuple[str, Any]]) -> None:
    if len({key for key, _ in pairs}) < len(pairs):
        raise msgspec.DecodeError("JSON is ambiguous: an object names a key twice")


def _count_keys(value: Any) -> int:
    if type(value) is dict:
        count = len(value)
        for inner in value.values():
            if type(inner) is dict or type(inner) is list:
                count += _count_keys(inner)
        return count
    if type(value) is list:
        return sum(map(_count_keys, value))
    return 0


def _parse_apart(body: bytes, single: bool) -> list[Decoded | Malformed]:
    try:
        raws = [_RAW_ONE.decode(body)] if single else _RAW.decode(body)
    except RecursionError:
        raise BadRequestError("JSON is nested too deeply") from None
    except _BROKEN as error:
        raise BadRequestError(_message(error)) from None
    if len(raws) > limits.BATCH_REQUESTS_MAX:
        raise _too_many(len(raws))
    return [_parse_one(bytes(raw)) for raw in raws]


def _parse_one(raw: bytes) -> Decoded | Malformed:
    try:
        request = _ONE.decode(raw)
        check_unique_keys(raw)
        return _normal(request)
    except RecursionError:
        return Malformed(None, "bad_request", "JSON is nested too deeply", None)
    except _BROKEN as error:
        return malformed(raw, error)


def malformed(raw: bytes, error: Exception) -> Malformed:
    """What is told about an item that could not be read."""
    detail, field = detail_of(error)
    unknown = field == "$.type" and detail.startswith("Invalid value")
    code = "unknown_type" if unknown else "bad_request"
    return Malformed(_id_of(raw), code, detail, field)


def detail_of(error: Exception) -> tuple[str, str | None]:
    """What a decoding error says, and the JSON path of the value that it is about."""
    message = _message(error)
    match = _FIELD.match(message)
    detail, path = (match[1], match[2]) if match else (message, None)
    named = _NAMED_FIELD.search(detail)
    if named is not None:
        return detail, f"{path or '$'}.{named[1]}"
    return detail, path


def _message(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "JSON is not valid UTF-8"
    return str(error)


def _id_of(raw: bytes) -> str | None:
    try:
        name = _NAMED.decode(raw).id
    except _BROKEN:
        return None
    return name if isinstance(name, str) and len(name) <= _ID_CHARS_MAX else None


def _normal(request: Decoded) -> Decoded | Malformed:
    """One spelling of every id (RFC 9562 section 4: read any case), and no NUL in a text."""
    kind = type(request)
    if kind is CommentPost:
        data = request.data
        if "\x00" in data.text:  # type: ignore[union-attr]
            return Malformed(request.id, "bad_request", "NUL is not text", "$.data.text")
        reply_to = data.reply_to  # type: ignore[union-attr]
        if reply_to and reply_to != reply_to.lower():
            request = replace(request, data=replace(data, reply_to=reply_to.lower()))
    elif kind is GiftSend:
        for name in ("gift", "combo"):
            if "\x00" in (getattr(request.data, name) or ""):
                return Malformed(request.id, "bad_request", "NUL is not text", f"$.data.{name}")
    elif kind is CommentRemove or kind is CommentRelease:
        target = request.data.target  # type: ignore[union-attr]
        if target != target.lower():
            request = replace(request, data=replace(request.data, target=target.lower()))
    return request


def _too_many(count: int) -> TooLargeError:
    return TooLargeError(
        f"{count} requests in one array; the most is {limits.BATCH_REQUESTS_MAX}",
        code="batch_too_large",
    )
