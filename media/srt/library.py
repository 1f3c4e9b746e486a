"""The one module that touches libsrt: the system's, by ctypes, never a part of this package.

Names and numbers are those of its public header `srt/srt.h`, versions 1.4 and 1.5. Everything here
may be called from any thread; what waits is :meth:`Library.ready` alone.
"""

import ctypes
import ctypes.util
import socket
import struct
from collections.abc import Callable
from typing import Any, Final

from engagement.errors import UnavailableError

NAMES: Final = ("libsrt-gnutls.so.1.5", "libsrt-openssl.so.1.5", "libsrt.so.1.5", "libsrt.so.1.4")
MISSING: Final = (
    "SRT needs libsrt on this machine: apt-get install libsrt1.5-openssl (or libsrt1.5-gnutls), "
    "dnf install srt-libs, brew install srt; or let an external engine take SRT"
)
READABLE: Final = 1 | 8
"""SRT_EPOLL_IN | SRT_EPOLL_ERR: a broken socket is ready, too."""

_RCVSYN, _RCVLATENCY, _TRANSTYPE = 2, 43, 50
_LIVE: Final = 0
_LOG_CRITICAL: Final = 2
_ASYNC_RECEIVE: Final = 6002
_REJECT_BASE: Final = 1_000
"""SRT_REJX: what an application says, 1000 and the HTTP status (access-control.md)."""
_ADDRESS_BYTES: Final = 128

_LISTENER_HOOK = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p
)

Knocked = Callable[[int, str, str], int]
"""`(socket, address, stream id)`: 0 lets it in, an HTTP status keeps it out. Called on a thread of
libsrt's, which takes in no packet meanwhile; must not raise."""


class SrtError(OSError):
    """A call failed; the message is libsrt's."""


class Library:
    """libsrt, loaded and started."""

    def __init__(self, names: tuple[str, ...] = NAMES) -> None:
        """Raises UnavailableError where there is none, with how to install it."""
        self._srt = _load(names)
        self._srt.srt_getlasterror_str.restype = ctypes.c_char_p
        self._srt.srt_listen_callback.argtypes = [ctypes.c_int, _LISTENER_HOOK, ctypes.c_void_p]
        self._srt.srt_setloglevel(_LOG_CRITICAL)  # It writes to stderr whatever it refuses.
        self._srt.srt_startup()
        self._hooks: list[Any] = []
        """Kept as long as libsrt may call them."""
        self._buffer = ctypes.create_string_buffer(2_048)

    def listen(self, host: str, port: int, latency_ms: int, backlog: int, knocked: Knocked) -> int:
        """A listening socket. Raises SrtError for a port that is taken."""
        listener: int = self._srt.srt_create_socket()
        self._set(listener, _TRANSTYPE, _LIVE)
        self._set(listener, _RCVSYN, 0)
        self._set(listener, _RCVLATENCY, latency_ms)

        def hook(_: object, handle: int, __: int, peer: int, stream_id: bytes | None) -> int:
            text = (stream_id or b"").decode("utf-8", "replace")
            status = knocked(handle, _address(ctypes.string_at(peer, 28)), text)
            if status:
                self._srt.srt_setrejectreason(handle, _REJECT_BASE + status)
            return -1 if status else 0

        self._hooks.append(_LISTENER_HOOK(hook))
        address = socket_address(host, port)
        try:
            self._check(self._srt.srt_listen_callback(listener, self._hooks[-1], None))
            self._check(self._srt.srt_bind(listener, address, len(address)))
            self._check(self._srt.srt_listen(listener, backlog))
        except SrtError:
            self.close(listener)
            raise
        return listener

    def port_of(self, handle: int) -> int:
        """The port that a socket is bound to."""
        name = ctypes.create_string_buffer(_ADDRESS_BYTES)
        size = ctypes.c_int(_ADDRESS_BYTES)
        self._check(self._srt.srt_getsockname(handle, name, ctypes.byref(size)))
        return int.from_bytes(name.raw[2:4], "big")

    def accept(self, listener: int) -> int | None:
        """A connection whose handshake is done; None when there is none."""
        handle: int = self._srt.srt_accept(listener, None, None)
        return None if handle < 0 else handle

    def receive(self, handle: int) -> bytes | None:
        """The next message; empty when none is there, None when the connection is over."""
        size: int = self._srt.srt_recvmsg(handle, self._buffer, len(self._buffer))
        if size > 0:
            return self._buffer.raw[:size]
        is_waiting = size < 0 and self._srt.srt_getlasterror(None) == _ASYNC_RECEIVE
        return b"" if is_waiting else None

    def poll(self) -> int:
        """A set of sockets to wait for."""
        poll: int = self._srt.srt_epoll_create()
        self._srt.srt_epoll_set(poll, 1)  # SRT_EPOLL_ENABLE_EMPTY: to wait for none is no error.
        return poll

    def watch(self, poll: int, handle: int) -> None:
        """Wait for this one, too. Raises SrtError for one that is over already."""
        events = ctypes.c_int(READABLE)
        self._check(self._srt.srt_epoll_add_usock(poll, handle, ctypes.byref(events)))

    def unwatch(self, poll: int, handle: int) -> None:
        """No more; one that is over is no error."""
        self._srt.srt_epoll_remove_usock(poll, handle)

    def ready(self, poll: int, timeout_ms: int, most: int) -> list[int]:
        """Sockets that may be read, after `timeout_ms` at the latest."""
        handles = (ctypes.c_int * most)()
        count = ctypes.c_int(most)
        found = self._srt.srt_epoll_wait(
            poll, handles, ctypes.byref(count), None, None,
            ctypes.c_int64(timeout_ms), None, None, None, None,
        )  # fmt: skip
        return list(handles[: min(count.value, most)]) if found > 0 else []

    def close(self, handle: int) -> None:
        """End a connection, or stop to listen."""
        self._srt.srt_close(handle)

    def release(self, poll: int) -> None:
        """Forget a set."""
        self._srt.srt_epoll_release(poll)

    def _set(self, handle: int, option: int, value: int) -> None:
        held = ctypes.c_int(value)
        self._check(self._srt.srt_setsockflag(handle, option, ctypes.byref(held), 4))

    def _check(self, result: int) -> None:
        if result < 0:
            raise SrtError(self._srt.srt_getlasterror_str().decode("utf-8", "replace"))


def socket_address(host: str, port: int) -> bytes:
    """A `sockaddr_in` or `sockaddr_in6` as the C library has it. Raises OSError for no address."""
    family, _, _, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
    packed = socket.inet_pton(family, str(where[0]))
    head = struct.pack("=H", family) + struct.pack("!H", port)
    if family == socket.AF_INET6:
        return head + bytes(4) + packed + bytes(4)
    return head + packed + bytes(8)


def _address(data: bytes) -> str:
    """The textual address in a `sockaddr`."""
    family = int.from_bytes(data[:2], "little" if struct.pack("=H", 1)[0] else "big")
    if family == socket.AF_INET6:
        return socket.inet_ntop(socket.AF_INET6, data[8:24])
    return socket.inet_ntop(socket.AF_INET, data[4:8])


def _load(names: tuple[str, ...]) -> Any:
    found = ctypes.util.find_library("srt") if names == NAMES else None
    for name in (*names, *([found] if found else [])):
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    raise UnavailableError(MISSING, code="libsrt_missing")
