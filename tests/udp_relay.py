"""A UDP relay between two parties, which loses what it is told to: a bad network, on loopback."""

import asyncio
import random
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

Address = tuple[str, int]


class _Side(asyncio.DatagramProtocol):
    """One of a relay's two sockets: what comes in goes out by the other."""

    def __init__(self, relay: "UdpRelay") -> None:
        self.relay = relay
        self.other: _Side
        self.peer: Address | None = None
        """Where to send what comes in at the other one."""
        self.transport: Any = None
        self.learns = False

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    @property
    def port(self) -> int:
        return int(self.transport.get_extra_info("sockname")[1])

    def datagram_received(self, data: bytes, addr: Address) -> None:
        if self.learns:
            self.peer = addr
        if self.other.peer is not None and self.relay.passes():
            self.other.transport.sendto(data, self.other.peer)


class UdpRelay:
    """Stands in front of a server's candidate. `loss` may be changed at any time."""

    def __init__(self, seed: int = 7) -> None:
        self.loss = 0.0
        self.lost = self.passed = 0
        self._random = random.Random(seed)
        self.near, self.far = _Side(self), _Side(self)
        self.near.other, self.far.other = self.far, self.near
        self.near.learns = True

    def passes(self) -> bool:
        is_lost = self._random.random() < self.loss
        self.lost += is_lost
        self.passed += not is_lost
        return not is_lost

    async def open(self) -> None:
        loop = asyncio.get_running_loop()
        for side in (self.near, self.far):
            await loop.create_datagram_endpoint(lambda s=side: s, local_addr=("127.0.0.1", 0))

    def offer(self, sdp: str) -> str:
        """An offer without candidates: the server is reached through here alone."""
        return re.sub(r"a=candidate:.*\r\n", "", sdp)

    def answer(self, sdp: str) -> str:
        """The server's answer with this relay in place of its only candidate."""
        [port] = set(re.findall(r"a=candidate:\S+ 1 udp \d+ 127\.0\.0\.1 (\d+) typ host", sdp))
        self.far.peer = ("127.0.0.1", int(port))
        return re.sub(r"( 127\.0\.0\.1 )\d+( typ host)", rf"\g<1>{self.near.port}\2", sdp)

    def close(self) -> None:
        self.near.transport.close()
        self.far.transport.close()


@asynccontextmanager
async def relay() -> AsyncIterator[UdpRelay]:
    made = UdpRelay()
    await made.open()
    try:
        yield made
    finally:
        made.close()
