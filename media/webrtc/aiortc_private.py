"""The one module that touches aiortc, aioice and pylibsrtp, private names included.

aiortc negotiates (SDP, ICE, DTLS) and encrypts; it has no API for packets that are forwarded
rather than decoded. So its receivers and senders are never started: decrypted packets are taken
from the DTLS transport as bytes, and sent through its SRTP session over the nominated pair of
ICE candidates. The versions are pinned exactly, and `tests/contract/test_aiortc_private.py` fails
when an upgrade changes a name or a behaviour that is relied on here.
"""

import asyncio
import os
import socket
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

import aioice.ice
import pylibsrtp
import structlog
from aiortc import (
    RTCBundlePolicy,
    RTCCertificate,
    RTCConfiguration,
    RTCIceServer,
    RTCPeerConnection,
    RTCRtpSender,
    RTCSessionDescription,
)
from aiortc.rate import RemoteBitrateEstimator
from aiortc.rtcicetransport import candidate_from_aioice
from aiortc.rtcrtpparameters import RTCRtcpFeedback, RTCRtpHeaderExtensionParameters
from aiortc.rtp import RtcpSrPacket
from msgspec import Struct

from engagement.errors import BadRequestError
from media.clock_formulas import ntp_of_unix_ms
from media.engine import Track
from media.rtp.packet import is_rtcp
from media.webrtc import bounds
from media.webrtc.offer import Offer, OfferedTrack

log = structlog.get_logger()

PRESENT: Final = "VP8", "H264", "opus"
"""Codecs that are forwarded, as SDP names them."""


class PayloadType(Struct, frozen=True):
    """A codec as one session numbers it."""

    codec: str
    """`vp8`, `h264` or `opus`."""
    number: int
    rate: int
    profile: str = ""
    """H264: profile_idc and constraints, the first four digits of profile-level-id."""
    rtx: int | None = None
    """The payload type of its retransmissions."""


class NegotiatedTrack(Struct, frozen=True):
    """One media section as it was answered."""

    kind: Track
    mid: str
    payload_types: tuple[PayloadType, ...]
    """In the offer's order of preference."""
    ssrc: int
    rtx_ssrc: int
    """Ours: of what we send, or of our feedback."""
    extensions: dict[str, int]
    """Header extensions of both sides, by URI."""


class PacketSink(Protocol):
    """Who gets a session's packets. None of it may raise."""

    def on_rtp(self, data: bytes, arrival_ms: float) -> None:
        """A decrypted RTP packet."""

    def on_rtcp(self, data: bytes) -> None:
        """A decrypted compound of RTCP."""

    def on_connected(self) -> None:
        """Media may flow."""

    def on_closed(self) -> None:
        """It may no longer; called once."""


class _SharedCertificate(RTCCertificate):
    """One certificate and one TLS context for all sessions: making them is half of a join."""

    _context: Any = None

    def _create_ssl_context(self, srtp_profiles: Any) -> Any:
        if self._context is None:
            self._context = super()._create_ssl_context(srtp_profiles)
        return self._context


class BandwidthEstimator:
    """aiortc's estimate of what the path from a publisher takes, by abs-send-time (REMB)."""

    def __init__(self) -> None:
        self._estimator = RemoteBitrateEstimator()

    def add(self, send_time_24: int, arrival_ms: float, octets: int, ssrc: int) -> int | None:
        """Take in a packet; bits per second when there is news."""
        estimate = self._estimator.add(
            abs_send_time=send_time_24,
            arrival_time_ms=int(arrival_ms),
            payload_size=octets,
            ssrc=ssrc,
        )
        return None if estimate is None else int(estimate[0])


class PeerFactory:
    """Makes peers that share a certificate, addresses and ICE servers."""

    def __init__(
        self,
        addresses: Sequence[str],
        ice_servers: Sequence[dict[str, str]],
        wall_ms: Callable[[], float],
    ) -> None:
        """`addresses` are what media is bound to; empty: all of this machine's but loopback.
        `ice_servers` have `urls`, and may have `username` and `credential`."""
        self.certificate = _SharedCertificate.generateCertificate()
        self.addresses = list(addresses)
        self.configuration = RTCConfiguration(
            iceServers=[RTCIceServer(**server) for server in ice_servers],
            bundlePolicy=RTCBundlePolicy.MAX_BUNDLE,
        )
        self.wall_ms = wall_ms

    def peer(self, sink: PacketSink) -> "Peer":
        """A peer that gives its packets to `sink`."""
        return Peer(self, sink)


class Peer:
    """One peer connection of raw packets."""

    def __init__(self, factory: PeerFactory, sink: PacketSink) -> None:
        self._factory = factory
        self._sink = sink
        self._connection: Any = RTCPeerConnection(factory.configuration)
        vars(self._connection)["_RTCPeerConnection__certificates"] = [factory.certificate]
        self._connection.on("connectionstatechange", self._state_changed)
        self._dtls: Any = None
        self._srtp: Any = None
        self._send: Callable[[bytes], bool] = _send_nowhere
        self._socket: socket.socket | None = None
        self._is_closed = False
        self._candidates_left = bounds.CANDIDATES_MAX
        self.unsent = 0
        """Packets that the kernel had no room for, or that could not be encrypted."""

    async def answer(
        self, offer: Offer, *, sends: bool, extensions: Sequence[str]
    ) -> tuple[list[NegotiatedTrack], str]:
        """Answer an offer: the tracks, and the SDP. `extensions` are URIs that we know.

        Raises BadRequestError when it cannot be answered.
        """
        try:
            description = RTCSessionDescription(sdp=offer.sdp, type="offer")
            await self._connection.setRemoteDescription(description)
            tracks = [
                self._settle(transceiver, offer, sends, extensions)
                for transceiver in self._connection.getTransceivers()
            ]
            self._take_over()
            await self._connection.setLocalDescription(await self._connection.createAnswer())
        except BadRequestError:
            raise
        except Exception as error:
            # aiortc raises whatever its parsers stumble over; all of it is about the offer.
            log.info("webrtc.offer_refused", error=repr(error))
            raise BadRequestError(
                f"the offer cannot be answered: {error}", code="bad_sdp", field="$"
            ) from error
        return tracks, str(self._connection.localDescription.sdp)

    async def add_candidates(self, candidates: Sequence[str]) -> None:
        """Take in trickled candidates, so many in all: each makes us send checks to an address
        that the other side names. Raises BadRequestError for one that is none."""
        for text in candidates[: self._candidates_left]:
            self._candidates_left -= 1
            try:
                candidate = candidate_from_aioice(
                    aioice.Candidate.from_sdp(text.removeprefix("candidate:"))
                )
                candidate.sdpMLineIndex = 0
                await self._connection.addIceCandidate(candidate)
            except ValueError as error:
                raise BadRequestError(f"not a candidate: {error}", code="bad_sdp") from None

    def send_rtp(self, data: bytes) -> bool:
        """Encrypt and send; False when it is not sent, which counts as lost on the way."""
        try:
            if self._send(self._srtp.protect(data)):
                return True
        except (pylibsrtp.Error, AttributeError, ValueError):
            pass  # Not connected, or gone; its end is told by the connection's state.
        self.unsent += 1
        return False

    def send_rtcp(self, data: bytes) -> bool:
        """The same for RTCP."""
        try:
            return self._send(self._srtp.protect_rtcp(data))
        except (pylibsrtp.Error, AttributeError, ValueError):
            return False

    async def close(self) -> None:
        """End it, and say so to the other side."""
        self._end()
        await self._connection.close()

    # --- how ------------------------------------------------------------------------------------

    def _settle(
        self, transceiver: Any, offer: Offer, sends: bool, known: Sequence[str]
    ) -> NegotiatedTrack:
        """Decide codecs, extensions and direction of one section; nothing of aiortc's starts."""
        offered = offer.track(transceiver.kind)
        if offered is None:
            raise BadRequestError("a section that was not offered", code="bad_sdp")
        payload_types = _payload_types(transceiver, offered, only_first=not sends)
        extensions = {uri: offered.extensions[uri] for uri in known if uri in offered.extensions}
        transceiver._headerExtensions = [
            RTCRtpHeaderExtensionParameters(id=number, uri=uri)
            for uri, number in extensions.items()
        ]
        transceiver.direction = "sendonly" if sends else "recvonly"
        transceiver.sender.send = transceiver.receiver.receive = _start_nothing
        self._dtls = transceiver.receiver.transport
        return NegotiatedTrack(
            kind=transceiver.kind,
            mid=offered.mid,
            payload_types=payload_types,
            ssrc=transceiver.sender._ssrc,
            rtx_ssrc=transceiver.sender._rtx_ssrc,
            extensions=extensions,
        )

    def _take_over(self) -> None:
        """Have packets come here, and bind to our addresses."""
        self._dtls._handle_rtp_data = self._receive_rtp
        self._dtls._handle_rtcp_data = self._receive_rtcp
        addresses = self._factory.addresses
        if addresses:
            ice = self._dtls.transport._connection
            gather = ice.get_component_candidates

            async def gather_ours(component: int, addresses: Any, timeout: int = 5) -> Any:
                return await gather(component, self._factory.addresses, timeout)

            ice.get_component_candidates = gather_ours

    async def _receive_rtp(self, data: bytes, arrival_time_ms: int) -> None:
        self._sink.on_rtp(data, self._factory.wall_ms())

    async def _receive_rtcp(self, data: bytes) -> None:
        if is_rtcp(data):
            self._sink.on_rtcp(data)

    def _state_changed(self) -> None:
        state = self._connection.connectionState
        if state == "connected" and self._srtp is None and not self._is_closed:
            self._srtp = self._dtls._tx_srtp
            self._connect_output()
            self._sink.on_connected()
        elif state in ("failed", "closed"):
            self._end()

    def _connect_output(self) -> None:
        """Send on the nominated pair, past the event loop: its buffers have no bound.

        A packet for which the kernel has no room is dropped: later it would be late.
        """
        pair = self._dtls.transport._connection._nominated[1]
        transport, address = pair.protocol.transport, pair.remote_addr
        bound = transport.get_extra_info("socket")
        if bound is None or pair.local_candidate.type == "relay":
            self._send = _through(transport, address)  # TURN frames each packet anew.
            return
        self._socket = output = socket.socket(fileno=os.dup(bound.fileno()))
        output.setblocking(False)
        output.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, bounds.SOCKET_BYTES)
        output.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, bounds.SOCKET_BYTES)
        self._send = _straight_to(output, address)

    def _end(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        self._send = _send_nowhere
        if self._socket is not None:
            self._socket.close()
        self._sink.on_closed()


def _payload_types(
    transceiver: Any, offered: OfferedTrack, *, only_first: bool
) -> tuple[PayloadType, ...]:
    """Keep the codecs that are forwarded, and their retransmissions; a publisher gets one."""
    common = transceiver._codecs
    bases = [codec for codec in common if codec.name in PRESENT]
    if not bases:
        raise BadRequestError(
            f"no {offered.kind} codec in common: {', '.join(PRESENT)} are forwarded",
            code="codec_not_supported",
        )
    if only_first:
        bases = bases[:1]
    kept, payload_types = [], []
    for base in bases:
        repeats = [
            codec
            for codec in common
            if codec.name == "rtx" and codec.parameters.get("apt") == base.payloadType
        ][:1]
        if offered.wants_reference_time and offered.kind == "video":
            base.rtcpFeedback.append(RTCRtcpFeedback(type="rrtr"))
        kept += [base, *repeats]
        payload_types.append(
            PayloadType(
                codec=base.name.lower(),
                number=base.payloadType,
                rate=base.clockRate,
                profile=str(base.parameters.get("profile-level-id", ""))[:4].lower(),
                rtx=repeats[0].payloadType if repeats else None,
            )
        )
    transceiver._codecs = kept
    return tuple(payload_types)


def hear_key_frame_requests(sender: RTCRtpSender, wanted: Callable[[], None]) -> None:
    """Have `wanted` called when whoever receives from this sender asks for a key frame.

    aiortc asks its own encoder then; a track of packets that were encoded elsewhere has none.
    """
    sender._send_keyframe = wanted  # type: ignore[method-assign]


def report_capture_times(sender: RTCRtpSender, captured_ms: Callable[[], float]) -> None:
    """Have this sender's reports name the time of capture, Unix ms, of the frame that it sent last.

    aiortc's own name the time of sending: a sender that is held up for a moment looks to the
    receiver as if its media had jumped.
    """
    send = sender._send_rtcp

    async def send_corrected(packets: list[Any]) -> None:
        for packet in packets:
            if isinstance(packet, RtcpSrPacket):
                packet.sender_info.ntp_timestamp = ntp_of_unix_ms(captured_ms())
        await send(packets)

    sender._send_rtcp = send_corrected  # type: ignore[method-assign]


async def _start_nothing(parameters: object) -> None:
    """In place of a receiver's `receive` and a sender's `send`."""


def _send_nowhere(data: bytes) -> bool:
    return False


def _through(transport: asyncio.DatagramTransport, address: tuple[str, int]) -> Any:
    def send(data: bytes) -> bool:
        transport.sendto(data, address)
        return True

    return send


def _straight_to(output: socket.socket, address: tuple[str, int]) -> Callable[[bytes], bool]:
    sendto = output.sendto

    def send(data: bytes) -> bool:
        try:
            sendto(data, address)
        except OSError:  # No room, no route, or closed: all the same to a live packet.
            return False
        return True

    return send
