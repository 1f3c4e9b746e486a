"""Which browser pages may talk to us: an exact list, and our own pages.

A browser sends `Origin` with every WebSocket handshake and every request that changes something;
other programs do not send it and have nothing to steal.
"""

from collections.abc import Iterable
from typing import Final

_LOOPBACK_HOSTS: Final = frozenset({"127.0.0.1", "localhost", "[::1]"})


class Origins:
    """The allow-list. Comparison is byte by byte: no suffixes, no case folding, no wildcards
    but the single `*`."""

    __slots__ = ("_allowed", "_any", "_loopback_only")

    def __init__(self, allowed: Iterable[str], *, loopback_only: bool) -> None:
        """`loopback_only` (dev mode) trusts our own origin only under a loopback name: a page
        whose DNS name was rebound to this machine is not ours."""
        self._allowed = frozenset(allowed)
        self._any = "*" in self._allowed
        self._loopback_only = loopback_only

    def lists(self, origin: str) -> bool:
        """Whether this origin is one that was allowed by name (or all are)."""
        return self._any or origin in self._allowed

    def allows(self, origin: str | None, host: str | None) -> bool:
        """Whether a request with these `Origin` and `Host` headers may go on."""
        if not origin or self.lists(origin):
            return True
        if not host or origin not in (f"http://{host}", f"https://{host}"):
            return False
        return not self._loopback_only or _name_of(host) in _LOOPBACK_HOSTS


def _name_of(host: str) -> str:
    """A `Host` header without its port."""
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0]
