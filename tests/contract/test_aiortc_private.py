"""What is relied on of aiortc, aioice and pylibsrtp: an upgrade that changes it fails here.

Private names are checked one by one, so that the failure says which one is gone; the rest is seen
to work over real sockets.
"""

import asyncio
import inspect
from importlib.metadata import version
from typing import Any

import pytest
from aiortc import RTCConfiguration, RTCPeerConnection
from aiortc.rtcdtlstransport import RTCCertificate, RTCDtlsTransport

from engagement.errors import BadRequestError
from media.anchor_book import wall_ms
from media.rtp.packet import parse_rtp, write_rtp
from media.webrtc.aiortc_private import BandwidthEstimator, Peer, PeerFactory
from media.webrtc.offer import parse_offer
from tests.webrtc_clients import Publisher, Viewer

WAIT_S = 10.0


@pytest.mark.parametrize(
    ("package", "pinned"),
    [("aiortc", "1.16.0"), ("aioice", "0.13.0"), ("pylibsrtp", "1.0.0")],
)
def test_the_versions_are_those_that_were_looked_into(package: str, pinned: str) -> None:
    assert version(package) == pinned, "read the adapter again before moving the pin"


async def test_the_private_names_are_there() -> None:
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    transceiver = connection.addTransceiver("video")
    dtls = transceiver.receiver.transport
    ice = dtls.transport._connection
    assert isinstance(vars(connection)["_RTCPeerConnection__certificates"], list)
    for holder, names in [
        (transceiver, ("_codecs", "_headerExtensions", "direction")),
        (transceiver.sender, ("_ssrc", "_rtx_ssrc", "send", "_send_keyframe", "_send_rtcp")),
        (transceiver.receiver, ("receive",)),
        (dtls, ("_tx_srtp", "_handle_rtp_data", "_handle_rtcp_data")),
        (ice, ("_nominated", "get_component_candidates")),
    ]:
        for name in names:
            assert hasattr(holder, name), f"{type(holder).__name__} has no {name}"
    await connection.close()


def test_the_private_functions_take_what_they_are_given() -> None:
    def parameters(function: Any) -> list[str]:
        return list(inspect.signature(function).parameters)

    assert parameters(RTCDtlsTransport._handle_rtp_data) == ["self", "data", "arrival_time_ms"]
    assert parameters(RTCDtlsTransport._handle_rtcp_data) == ["self", "data"]
    assert parameters(RTCCertificate._create_ssl_context) == ["self", "srtp_profiles"]


def test_bandwidth_is_estimated_from_send_times() -> None:
    estimator = BandwidthEstimator()
    estimates = [
        estimator.add(int(number * 0.005 * 2**18) & 0xFFFFFF, number * 5.0, 1_000, 7)
        for number in range(1_000)
    ]
    newest = [each for each in estimates if each is not None][-1]
    assert newest > 1_000_000, "1.6 Mbit/s come without delay"


class Sink:
    """Keeps what comes."""

    def __init__(self) -> None:
        self.packets: list[bytes] = []
        self.reports: list[bytes] = []
        self.connected, self.closed, self.got_packet = (asyncio.Event() for _ in range(3))

    def on_rtp(self, data: bytes, arrival_ms: float) -> None:
        self.packets.append(data)
        self.got_packet.set()

    def on_rtcp(self, data: bytes) -> None:
        self.reports.append(data)

    def on_connected(self) -> None:
        self.connected.set()

    def on_closed(self) -> None:
        self.closed.set()


def peers() -> PeerFactory:
    return PeerFactory(["127.0.0.1"], [], wall_ms)


async def answered(
    client: Publisher | Viewer, sink: Sink, *, sends: bool
) -> tuple[Peer, list[Any], str]:
    """A peer of ours that has answered a client's offer."""
    peer, settled = peers().peer(sink), []

    async def exchange(offer: str) -> str:
        tracks, answer = await peer.answer(parse_offer(offer), sends=sends, extensions=())
        settled.extend([tracks, answer])
        return answer

    await (client.publish(exchange) if isinstance(client, Publisher) else client.play(exchange))
    return peer, settled[0], settled[1]


async def test_packets_come_decrypted_and_nothing_is_decoded() -> None:
    client, sink = Publisher(), Sink()
    peer, [track], answer = await answered(client, sink, sends=False)
    async with asyncio.timeout(WAIT_S):
        await sink.connected.wait()
        await sink.got_packet.wait()
    packet = parse_rtp(sink.packets[0])
    assert packet.payload_type == track.payload_types[0].number
    assert track.payload_types[0].codec == "vp8"
    assert "127.0.0.1" in answer and "a=recvonly" in answer
    await client.close()
    async with asyncio.timeout(WAIT_S):
        await sink.closed.wait()
    assert not peer.send_rtp(sink.packets[0]), "nothing is sent after the end, and nothing raises"
    await peer.close()


async def test_packets_go_out_encrypted_under_the_numbers_that_were_answered() -> None:
    client, sink = Viewer(), Sink()
    peer, tracks, answer = await answered(client, sink, sends=True)
    video = next(track for track in tracks if track.kind == "video")
    assert f"a=ssrc:{video.ssrc}" in answer and "a=sendonly" in answer
    assert [each.codec for each in video.payload_types][:1] == ["vp8"]
    assert video.payload_types[0].rtx is not None
    async with asyncio.timeout(WAIT_S):
        await sink.connected.wait()
    number = video.payload_types[0].number
    assert peer.send_rtp(write_rtp(number, True, 1, 2, video.ssrc, b"\x10\x00frame"))
    assert not peer.send_rtp(write_rtp(number, True, 2, 2, video.ssrc, b"x" * 2_000))
    assert peer.unsent == 1
    await peer.close()
    await client.close()


async def test_candidates_may_come_later() -> None:
    client, sink = Viewer(), Sink()
    peer, _, _ = await answered(client, sink, sends=True)
    await peer.add_candidates(["candidate:1 1 udp 2130706431 127.0.0.1 9 typ host"])
    with pytest.raises(BadRequestError):
        await peer.add_candidates(["candidate:nonsense"])
    await peer.close()
    await client.close()


async def test_an_offer_without_a_codec_in_common_is_refused() -> None:
    sdp = "\r\n".join(
        [
            "v=0", "o=- 1 1 IN IP4 0.0.0.0", "s=-", "t=0 0", "a=group:BUNDLE 0",
            "m=video 9 UDP/TLS/RTP/SAVPF 96", "c=IN IP4 0.0.0.0", "a=mid:0",
            "a=ice-ufrag:abcd", "a=ice-pwd:abcdefghijklmnopqrstuvwx", "a=setup:actpass",
            "a=fingerprint:sha-256 " + ":".join(["AB"] * 32), "a=rtpmap:96 VP9/90000", "",
        ]
    )  # fmt: skip
    peer = peers().peer(Sink())
    with pytest.raises(BadRequestError):
        await peer.answer(parse_offer(sdp), sends=True, extensions=())
    await peer.close()
