"""One take: what a host publishes from its first frame to its last, by WHIP (RFC 9725)."""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from fractions import Fraction
from typing import Any, Final
from urllib.parse import urljoin

import av
import httpx
from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCPeerConnection,
    RTCRtpSender,
    RTCSessionDescription,
)

from engagement.host_video.encoder import (
    FPS,
    SOUND_FRAME_SAMPLES,
    SOUND_RATE_HZ,
    PictureEncoder,
)
from engagement.host_video.picture import HEIGHT, WIDTH, HostPicture, Reaction
from media.webrtc.aiortc_private import hear_key_frame_requests, report_capture_times

LATE_S_MAX: Final = 0.5
"""Frames that are later than this are left out: the machine slept, or has too much to do."""
HTTP_TIMEOUT_S: Final = 10.0
SILENCE_S_MAX: Final = 3.0
"""Receivers report every second. ICE notices only after half a minute that nobody is there."""
LOOK_S: Final = 0.5
KEY_FRAME_FRAMES_MIN: Final = 8
"""Between key frames that are asked for: a crowd of new viewers costs one."""


class HostClock:
    """The clocks of a host's computer."""

    def now_s(self) -> float:
        """What its media runs by."""
        return time.monotonic()

    def wall_ms(self) -> float:
        """What it takes the time to be, Unix ms."""
        return time.time() * 1000


class Pictures(MediaStreamTrack):
    """A take's video, in real time, with its time burned in."""

    kind = "video"

    def __init__(
        self,
        picture: HostPicture,
        take: int,
        reaction: Callable[[], Reaction | None],
        clock: HostClock,
    ) -> None:
        super().__init__()
        self.captured_ms = 0.0
        """When the newest frame was due, by the host's wall clock."""
        self._began_s: float | None = None
        self._picture, self._take = picture, take
        self._reaction = reaction
        self._clock = clock
        self._encoder = PictureEncoder(WIDTH, HEIGHT)
        self._number = -1
        self._key_wanted = False
        self._key_number = 0

    @property
    def at_ms(self) -> float:
        """Media time of the newest frame."""
        return max(0, self._number) * 1000 / FPS

    def want_key_frame(self) -> None:
        """Somebody cannot go on without one."""
        self._key_wanted = True

    async def recv(self) -> "av.Packet[Any]":
        """The next frame, when it is due."""
        clock = self._clock
        if self._began_s is None:
            self._began_s = clock.now_s()
        self._number += 1
        late_s = clock.now_s() - self._began_s - self._number / FPS
        if late_s > LATE_S_MAX:
            self._number += int(late_s * FPS)
        elif late_s < 0:
            await asyncio.sleep(-late_s)
        late_s = clock.now_s() - self._began_s - self._number / FPS
        self.captured_ms = clock.wall_ms() - late_s * 1000
        is_key = self._key_wanted and self._number - self._key_number >= KEY_FRAME_FRAMES_MIN
        if is_key:
            self._key_wanted, self._key_number = False, self._number
        frame = self._picture.frame(self.at_ms, self._take, self._reaction())
        return self._encoder.encode(frame, self._number, is_key=is_key)


class Sound(MediaStreamTrack):
    """A take's sound: packets that were encoded before, over and over."""

    kind = "audio"

    def __init__(self, packets: Sequence[bytes], clock: HostClock) -> None:
        super().__init__()
        self.captured_ms = 0.0
        """As that of pictures."""
        self._packets = packets
        self._clock = clock
        self._began_s: float | None = None
        self._number = -1

    async def recv(self) -> "av.Packet[Any]":
        """The next packet, when it is due."""
        clock = self._clock
        if self._began_s is None:
            self._began_s = clock.now_s()
        self._number += 1
        frame_s = SOUND_FRAME_SAMPLES / SOUND_RATE_HZ
        late_s = clock.now_s() - self._began_s - self._number * frame_s
        if late_s > LATE_S_MAX:
            self._number += int(late_s / frame_s)
        elif late_s < 0:
            await asyncio.sleep(-late_s)
        late_s = clock.now_s() - self._began_s - self._number * frame_s
        self.captured_ms = clock.wall_ms() - late_s * 1000
        packet = av.Packet(self._packets[self._number % len(self._packets)])
        packet.pts, packet.time_base = (
            self._number * SOUND_FRAME_SAMPLES,
            Fraction(1, SOUND_RATE_HZ),
        )
        return packet


class Take:
    """A publication. Opened once, closed once."""

    def __init__(
        self,
        picture: HostPicture,
        sound: Sequence[bytes],
        number: int,
        reaction: Callable[[], Reaction | None] = lambda: None,
        clock: HostClock | None = None,
    ) -> None:
        """`reaction` is asked for every frame."""
        clock = HostClock() if clock is None else clock
        self.number = number
        self.pictures = Pictures(picture, number, reaction, clock)
        self.over = asyncio.Event()
        """The connection has ended, by whomever."""
        self._sound = Sound(sound, clock)
        self._connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._session_url = ""
        self._headers: dict[str, str] = {}

    async def publish(self, url: str, headers: dict[str, str]) -> None:
        """Offer, and begin with the answer.

        Raises httpx.HTTPError, also when refused; nothing has to be closed then.
        """
        connection, self._headers = self._connection, headers
        video = connection.addTransceiver(self.pictures, direction="sendonly")
        codecs = RTCRtpSender.getCapabilities("video").codecs
        chosen = [codec for codec in codecs if codec.mimeType in ("video/H264", "video/rtx")]
        video.setCodecPreferences(chosen)
        audio = connection.addTransceiver(self._sound, direction="sendonly")
        report_capture_times(video.sender, lambda: self.pictures.captured_ms)
        report_capture_times(audio.sender, lambda: self._sound.captured_ms)
        hear_key_frame_requests(video.sender, self.pictures.want_key_frame)
        connection.on("connectionstatechange", self._note_state)
        try:
            await connection.setLocalDescription(await connection.createOffer())
            async with httpx.AsyncClient(trust_env=False, timeout=HTTP_TIMEOUT_S) as http:
                answer = await http.post(
                    url,
                    content=connection.localDescription.sdp,
                    headers={**headers, "Content-Type": "application/sdp"},
                )
            answer.raise_for_status()
            self._session_url = urljoin(url, answer.headers["Location"])
            await connection.setRemoteDescription(RTCSessionDescription(answer.text, "answer"))
        except BaseException:
            await connection.close()
            raise

    async def until_over(self) -> None:
        """Return when the connection has ended, or nobody has reported to us for a while."""
        heard: datetime | None = None
        heard_s = time.monotonic()
        while not self.over.is_set() and time.monotonic() - heard_s < SILENCE_S_MAX:
            with suppress(TimeoutError):
                await asyncio.wait_for(self.over.wait(), LOOK_S)
            newest = await self._newest_report()
            if newest != heard:
                heard, heard_s = newest, time.monotonic()

    async def _newest_report(self) -> datetime | None:
        """When the receiver last reported; None before it has."""
        stats = await self._connection.getStats()
        reports = [one.timestamp for one in stats.values() if one.type == "remote-inbound-rtp"]
        return max(reports, default=None)

    async def close(self) -> None:
        """End the publication, and say so if anybody is there to hear it."""
        await self._connection.close()
        self.over.set()
        try:
            async with httpx.AsyncClient(trust_env=False, timeout=HTTP_TIMEOUT_S) as http:
                await http.delete(self._session_url, headers=self._headers)
        except httpx.HTTPError:
            pass  # It has ended without us.

    def _note_state(self) -> None:
        if self._connection.connectionState in ("closed", "failed"):
            self.over.set()
