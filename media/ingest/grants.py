"""Addresses that were given out and may be published to once. Pure but for the random keys."""

import secrets
from collections.abc import Callable

from msgspec import Struct

from engagement.errors import UnavailableError
from media.engine import SessionId
from media.ingest import bounds


class _Grant(Struct, frozen=True):
    room: str
    publisher: str
    session: SessionId
    until_ms: float


class Grants:
    """Keys by what they allow; each works once, within `GRANT_S`."""

    def __init__(self, now_ms: Callable[[], float]) -> None:
        self._now_ms = now_ms
        self._by_key: dict[str, _Grant] = {}

    def grant(self, room: str, publisher: str, session: SessionId) -> str:
        """A new key; raises UnavailableError while too many are out."""
        now_ms = self._now_ms()
        self._by_key = {k: g for k, g in self._by_key.items() if g.until_ms > now_ms}
        if len(self._by_key) >= bounds.GRANTS_MAX:
            raise UnavailableError("too many addresses are out", code="full", retry_after_s=10)
        key = secrets.token_urlsafe(24)
        self._by_key[key] = _Grant(room, publisher, session, now_ms + bounds.GRANT_S * 1000)
        return key

    def redeem(self, room: str, key: str) -> tuple[str, SessionId] | None:
        """Whose key it is, and for which session; None for no key of this room."""
        grant = self._by_key.get(key)
        if grant is None or grant.room != room or grant.until_ms <= self._now_ms():
            return None
        del self._by_key[key]
        return grant.publisher, grant.session

    def revoke(self, session: SessionId) -> None:
        """The session is not wanted any more."""
        self._by_key = {k: g for k, g in self._by_key.items() if g.session != session}
