"""The error tree, and how each error looks from outside.

    EngagementError
    ├── BadRequestError        400   not JSON, not the right shape; names the field
    ├── UnauthorizedError        401   no token, or one that does not verify
    ├── ForbiddenError        403   the principal may not do this
    ├── NotFoundError        404   no such room (or other thing)
    ├── ConflictError        409   the thing is in another state
    ├── TooLargeError        413   body, frame or batch beyond its bound
    ├── IdReusedError        422   same id, other body
    ├── NotYetAvailableError        409   a request type that a later version decides
    ├── RateLimitedError        429   a token bucket is empty; says when to come back
    └── UnavailableError        503   the log or the database does not answer; says when to retry

Over HTTP an error is RFC 9457 problem+json; over a WebSocket it is an `error` frame, or a close
code from the table below: 3000-3499 and 4000-4499 tell the client to reconnect, 3500-3999 and
4500-4999 tell it not to.
"""

from typing import Any, ClassVar, Final


class EngagementError(Exception):
    """Something that the outside did, or that happened to us, told to the outside."""

    status: ClassVar[int] = 500
    code: str = "internal"
    title: ClassVar[str] = "Internal error"

    def __init__(
        self,
        detail: str,
        *,
        code: str | None = None,
        field: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        if code is not None:
            self.code = code
        self.field = field
        """JSON path of the value that is wrong, as `$.data.text`."""
        self.retry_after_s = retry_after_s

    def problem(self) -> dict[str, Any]:
        """RFC 9457 problem details."""
        body: dict[str, Any] = {
            "type": f"urn:live-engagement:problem:{self.code}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
        }
        if self.field is not None:
            body["field"] = self.field
        if self.retry_after_s is not None:
            body["retry_after_s"] = self.retry_after_s
        return body


class BadRequestError(EngagementError):
    """Not JSON, or not of the right shape."""

    status = 400
    code = "bad_request"
    title = "Bad request"


class UnauthorizedError(EngagementError):
    """Nobody we know."""

    status = 401
    code = "unauthorized"
    title = "Unauthorized"


class ForbiddenError(EngagementError):
    """Somebody we know, who may not do this."""

    status = 403
    code = "forbidden"
    title = "Forbidden"


class NotFoundError(EngagementError):
    """No such thing."""

    status = 404
    code = "not_found"
    title = "Not found"


class ConflictError(EngagementError):
    """The thing is in another state than the request supposes."""

    status = 409
    code = "conflict"
    title = "Conflict"


class TooLargeError(EngagementError):
    """Beyond a bound of size."""

    status = 413
    code = "too_large"
    title = "Too large"


class IdReusedError(EngagementError):
    """The id was used before with another body."""

    status = 422
    code = "id_reused"
    title = "Id reused"


class RateLimitedError(EngagementError):
    """A token bucket is empty."""

    status = 429
    code = "rate_limited"
    title = "Too many requests"


class NotYetAvailableError(EngagementError):
    """A part of the contract that this version does not decide yet."""

    status = 409
    code = "not_yet_available"
    title = "Not yet available"


class UnavailableError(EngagementError):
    """Something that we need does not answer."""

    status = 503
    code = "unavailable"
    title = "Unavailable"


CLOSE_CODES: Final[dict[str, int]] = {
    # reconnect
    "restarting": 3000,
    "slow_consumer": 3001,
    "overloaded": 3002,
    "token_expired": 3003,
    # do not reconnect
    "unauthorized": 3500,
    "banned": 3501,
    "bad_frame": 3502,
    "room_not_found": 3503,
    "auth_timeout": 3504,
    "frame_too_large": 3505,
    "too_many_errors": 3506,
}
"""WebSocket close codes by reason."""


class FencedError(Exception):
    """The partition is somebody else's now: nothing was written."""


class PositionMovedError(Exception):
    """A position is not where it was left: nothing was written, it has to be read again."""
