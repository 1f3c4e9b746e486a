"""What an offer may be, before anything is built for it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engagement.errors import BadRequestError
from media.webrtc import bounds
from media.webrtc.offer import Offer, parse_fragment, parse_offer

SESSION = ["v=0", "o=- 1 1 IN IP4 0.0.0.0", "s=-", "t=0 0", "a=group:BUNDLE 0 1"]
TRANSPORT = [
    "a=ice-ufrag:abcd",
    "a=ice-pwd:abcdefghijklmnopqrstuvwx",
    "a=fingerprint:sha-256 AB:CD",
    "a=setup:actpass",
]
VIDEO = [
    "m=video 9 UDP/TLS/RTP/SAVPF 96 97",
    "a=mid:0",
    *TRANSPORT,
    "a=sendonly",
    "a=extmap:3/sendonly http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time",
    "a=extmap:200 urn:too-large-for-one-byte",
    "a=rtcp-fb:96 rrtr",
]
AUDIO = ["m=audio 9 UDP/TLS/RTP/SAVPF 111", "a=mid:1", *TRANSPORT]
HOST = "a=candidate:1 1 udp 2130706431 192.0.2.1 4242 typ host"


def sdp(*sections: list[str]) -> str:
    return "\r\n".join(line for section in sections for line in section) + "\r\n"


def test_an_offer_says_what_it_has() -> None:
    offer = parse_offer(sdp(SESSION, VIDEO, AUDIO))
    video, audio = offer.tracks
    assert (video.kind, video.mid, video.direction) == ("video", "0", "sendonly")
    assert (audio.kind, audio.direction) == ("audio", "sendrecv")
    assert list(video.extensions.values()) == [3]
    assert (video.wants_reference_time, audio.wants_reference_time) == (True, False)
    assert offer.ice_ufrag == "abcd"
    assert offer.track("audio") is audio


def candidates_of(offer: Offer) -> list[str]:
    return [line for line in offer.sdp.split("\r\n") if line.startswith("a=candidate")]


def test_only_candidates_that_can_be_dialled_are_left() -> None:
    useless = [
        "a=candidate:1 1 udp 1 e8b3.local 5 typ host generation 0",
        "a=candidate:1 1 tcp 1 192.0.2.1 9 typ host tcptype active",
        "a=candidate:1 2 udp 1 192.0.2.1 9 typ host",
        "a=candidate:1 1 udp 1 224.0.0.1 9 typ host",
        "a=candidate:1 1 udp 1 0.0.0.0 9 typ host",
        "a=candidate:nonsense",
        "a=end-of-candidates",
    ]
    offer = parse_offer(sdp(SESSION, VIDEO + useless + [HOST], AUDIO))
    assert candidates_of(offer) == [HOST]
    assert "end-of-candidates" not in offer.sdp


def test_candidates_are_bounded() -> None:
    many = [HOST.replace("4242", str(port)) for port in range(2_000, 2_000 + 100)]
    offer = parse_offer(sdp(SESSION, VIDEO + many, AUDIO + many))
    assert len(candidates_of(offer)) == bounds.CANDIDATES_MAX


@pytest.mark.parametrize(
    "offer",
    [
        "",
        "hello",
        sdp(SESSION),
        sdp(["v=0", "a=group:BUNDLE 0"], VIDEO, AUDIO),
        sdp(["v=0"], VIDEO),
        sdp(["v=0", "a=group:BUNDLE 0 0"], VIDEO, VIDEO),
        sdp(SESSION, VIDEO, AUDIO, VIDEO),
        sdp(["v=0", "a=group:BUNDLE 0"], ["m=application 9 UDP/DTLS/SCTP webrtc-datachannel"]),
        sdp(["v=0", "a=group:BUNDLE 0"], [line for line in VIDEO if "mid" not in line]),
        sdp(["v=0", "a=group:BUNDLE 0"], [line for line in VIDEO if "ufrag" not in line]),
        sdp(["v=0", "a=group:BUNDLE 0"], [line for line in VIDEO if "setup" not in line]),
        sdp(["v=0", "a=group:BUNDLE 0"], [line for line in VIDEO if "fingerprint" not in line]),
        sdp(SESSION, VIDEO, AUDIO, ["a line"]),
        sdp(SESSION, VIDEO, AUDIO, ["a=x:" + "x" * bounds.SDP_BYTES_MAX]),
    ],
)
def test_what_cannot_be_answered_is_refused_with_a_reason(offer: str) -> None:
    with pytest.raises(BadRequestError) as refusal:
        parse_offer(offer)
    assert refusal.value.code == "bad_sdp"


def test_a_fragment_adds_candidates() -> None:
    fragment = parse_fragment(
        sdp(["a=ice-ufrag:abcd", "a=ice-pwd:x", "m=audio 9 RTP/AVP 0", "a=mid:0", HOST])
        + "a=end-of-candidates\r\n"
    )
    assert (fragment.ice_ufrag, fragment.is_end) == ("abcd", True)
    assert fragment.candidates == (HOST[2:],)
    with pytest.raises(BadRequestError):
        parse_fragment("no SDP")


@given(st.lists(st.sampled_from([*SESSION, *VIDEO, *AUDIO, HOST, "m=", "a=", ""])), st.text())
def test_offers_and_fragments_raise_nothing_but_refusals(lines: list[str], noise: str) -> None:
    for text in (sdp(lines), noise, "v=0\r\n" + noise):
        for parse in (parse_offer, parse_fragment):
            try:
                parse(text)  # type: ignore[operator]
            except BadRequestError as refusal:
                assert refusal.code == "bad_sdp"
