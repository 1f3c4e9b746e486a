"""A publisher and a viewer in Python, for tests that need no browser: aiortc's own."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from fractions import Fraction

import av
from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCPeerConnection,
    RTCRtpSender,
    RTCSessionDescription,
)

WAIT_S = 15.0
Exchange = Callable[[str], Awaitable[str]]
"""Gives an offer to somebody, and the answer back."""


class Pictures(MediaStreamTrack):
    """Small grey pictures, each a little lighter, at 30 a second."""

    kind = "video"

    def __init__(self) -> None:
        super().__init__()
        self._count = 0
        self._began_s = time.monotonic()

    async def recv(self) -> av.VideoFrame:
        self._count += 1
        await asyncio.sleep(max(0.0, self._began_s + self._count / 30 - time.monotonic()))
        frame = av.VideoFrame(160, 120, "yuv420p")
        for plane in frame.planes:
            plane.update(bytes([self._count % 200 + 20]) * plane.buffer_size)
        frame.pts, frame.time_base = self._count * 3_000, Fraction(1, 90_000)
        return frame


class Publisher:
    """Publishes pictures."""

    def __init__(self, codec: str = "video/VP8") -> None:
        self.connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        transceiver = self.connection.addTransceiver(Pictures(), direction="sendonly")
        codecs = RTCRtpSender.getCapabilities("video").codecs
        chosen = [each for each in codecs if each.mimeType in (codec, "video/rtx")]
        transceiver.setCodecPreferences(chosen)

    async def publish(self, exchange: Exchange) -> None:
        await _negotiate(self.connection, exchange)

    async def answered(self, sdp: str) -> None:
        """For who made the offer by themselves."""
        await self.connection.setRemoteDescription(RTCSessionDescription(sdp, "answer"))

    async def close(self) -> None:
        await self.connection.close()


class Viewer:
    """Plays a stream; keeps the RTP timestamps of what it got."""

    def __init__(self, *, offers: bool = True) -> None:
        self.connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        if offers:
            self.connection.addTransceiver("video", direction="recvonly")
            self.connection.addTransceiver("audio", direction="recvonly")
        self.frames = 0
        self._reading: asyncio.Task[None] | None = None
        self.got_frame = asyncio.Event()

        @self.connection.on("track")
        def on_track(track: MediaStreamTrack) -> None:
            if track.kind == "video":
                self._reading = asyncio.ensure_future(self._read(track))

    async def _read(self, track: MediaStreamTrack) -> None:
        while True:
            await track.recv()
            self.frames += 1
            self.got_frame.set()

    async def play(self, exchange: Exchange) -> None:
        await _negotiate(self.connection, exchange)

    async def more_frames(self, count: int = 5) -> None:
        """Wait for so many more."""
        wanted = self.frames + count
        async with asyncio.timeout(WAIT_S):
            while self.frames < wanted:
                self.got_frame.clear()
                await self.got_frame.wait()

    async def ask_key_frame(self) -> None:
        """Tell the sender that something is missing (PLI)."""
        for receiver in self.connection.getReceivers():
            for source in receiver.getSynchronizationSources():
                if receiver.track.kind == "video":
                    await receiver._send_rtcp_pli(source.source)

    async def close(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
        await self.connection.close()


async def _negotiate(connection: RTCPeerConnection, exchange: Exchange) -> None:
    await connection.setLocalDescription(await connection.createOffer())
    answer = await exchange(connection.localDescription.sdp)
    await connection.setRemoteDescription(RTCSessionDescription(answer, "answer"))
