"""Bodies of the calls that are not hot: bounded, strict, and named where they are wrong."""

from typing import Any, Final, TypeVar

import msgspec
from fastapi import Request

from engagement.errors import BadRequestError
from engagement.gateway.events_http import Body
from engagement.gateway.requests_json import check_unique_keys, detail_of

T = TypeVar("T")

BODY_BYTES_MAX: Final = 16 * 1024
"""None of them has more than a handful of fields."""


async def read_body(request: Request, decoder: msgspec.json.Decoder[T]) -> T:
    """The body of a request, decoded. Raises BadRequestError, TooLargeError, BodyTimeoutError."""
    headers = dict(request.scope["headers"])
    body = await Body(headers, request.receive).read(BODY_BYTES_MAX)
    try:
        asked = decoder.decode(body)
        check_unique_keys(body)
    except RecursionError:
        raise BadRequestError("JSON is nested too deeply") from None
    except (msgspec.MsgspecError, ValueError) as error:
        detail, field = detail_of(error)
        raise BadRequestError(detail, field=field) from None
    return asked


def check_texts(**texts: Any) -> None:
    """Raise BadRequestError for a text with a NUL: it is no text, and PostgreSQL takes none."""
    for name, text in texts.items():
        if isinstance(text, str) and "\x00" in text:
            raise BadRequestError("NUL is not text", field=f"$.{name}")
