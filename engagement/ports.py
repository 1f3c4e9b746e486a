"""Ports of this machine: is one free, and does somebody listen there."""

import socket
import time
from typing import Final

from engagement.errors import ConflictError

_CHECK_EVERY_S: Final = 0.05


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a server could listen there; connections that linger from before do not matter."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def answers(port: int, host: str = "127.0.0.1", timeout_s: float = 1) -> bool:
    """Whether somebody takes connections there.

    On a port of the ephemeral range a probe may connect to itself: that does not count.
    """
    try:
        with socket.create_connection((host.strip("[]"), port), timeout_s) as probe:
            return bool(probe.getsockname() != probe.getpeername())
    except OSError:
        return False


def require_free(
    port: int, purpose: str, variable: str, *, host: str = "127.0.0.1", within_s: float = 3
) -> None:
    """Wait a little for what is just ending; ConflictError when somebody keeps the port."""
    deadline_s = time.monotonic() + within_s
    while not is_free(port, host):
        if time.monotonic() > deadline_s:
            raise ConflictError(
                f"port {port}, wanted for {purpose}, is in use by another program. Stop that, "
                f"or set {variable} to another port.",
                code="port_in_use",
            )
        time.sleep(_CHECK_EVERY_S)


def dialled(host: str) -> str:
    """Where to reach a server that listens on this address, as it stands in a URL."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - only compared
    return f"[{host}]" if ":" in host else host
