"""What Janus is given of a viewer's answer, and what a publisher is told of Janus'."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engagement.errors import BadRequestError
from media.janus.sdp import (
    answer_with_capture_times,
    capture_time_ids,
    mids_and_codecs,
    rebuilt_answer,
)
from media.rtp.capture_time import ABS_CAPTURE_TIME_URI
from media.webrtc.offer import parse_offer

FINGERPRINT = "a=fingerprint:sha-256 " + ":".join(["AB"] * 32)


def description(*sections: str, ufrag: str = "abcd") -> str:
    mids = " ".join(str(number) for number in range(len(sections)))
    head = ["v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=-", "t=0 0", f"a=group:BUNDLE {mids}"]
    head += [f"a=ice-ufrag:{ufrag}", "a=ice-pwd:0123456789012345678901", FINGERPRINT]
    return "\r\n".join([*head, *(line for s in sections for line in s.split("\n"))]) + "\r\n"


OFFER = description(
    "m=audio 9 UDP/TLS/RTP/SAVPF 111\nc=IN IP4 0.0.0.0\na=sendonly\na=mid:0\na=setup:actpass\n"
    "a=rtpmap:111 opus/48000/2",
    "m=video 9 UDP/TLS/RTP/SAVPF 107 108\nc=IN IP4 0.0.0.0\na=sendonly\na=mid:1\na=setup:actpass\n"
    "a=rtpmap:107 H264/90000\na=fmtp:107 profile-level-id=42e01f\na=rtpmap:108 rtx/90000\n"
    "a=fmtp:108 apt=107\na=extmap:2 urn:a\na=extmap:3 urn:b",
)
AUDIO = "m=audio 9 UDP/TLS/RTP/SAVPF 111\na=recvonly\na=mid:0\na=setup:active"
VIDEO = (
    "m=video 9 UDP/TLS/RTP/SAVPF 108 108 5\na=recvonly\na=mid:1\na=setup:active\n"
    "a=rtpmap:108 H264/90000\na=rtpmap:5 H264/90000\na=extmap:7 urn:b\n"
    "a=candidate:1 1 udp 1 192.0.2.1 1000 typ host\na=candidate:1 1 udp 1 x.local 1000 typ host"
)


def test_payload_types_are_janus_own_and_the_transport_is_the_viewers() -> None:
    answer, ufrag = rebuilt_answer(OFFER, description(AUDIO, VIDEO, ufrag="mine"))
    assert ufrag == "mine"
    lines = answer.split("\r\n")
    assert "m=video 9 UDP/TLS/RTP/SAVPF 107 108" in lines
    assert "a=rtpmap:107 H264/90000" in lines and "a=rtpmap:108 H264/90000" not in lines
    assert "a=extmap:3 urn:b" in lines and "a=extmap:2 urn:a" not in lines
    assert lines.count("a=ice-ufrag:mine") == 2 and lines.count(FINGERPRINT) == 2
    assert any("192.0.2.1" in line for line in lines) and "x.local" not in answer
    assert lines.count("a=recvonly") == 2 and lines.count("a=setup:active") == 2


def test_a_section_that_is_not_wanted_is_left_out() -> None:
    answer, _ = rebuilt_answer(OFFER, description(AUDIO.replace("audio 9", "audio 0"), VIDEO))
    assert "m=audio 0 UDP/TLS/RTP/SAVPF 111\r\n" in answer
    assert answer.count("a=inactive") == 1


@pytest.mark.parametrize(
    "answer",
    ["", "v=0", description(VIDEO), description(VIDEO, AUDIO), description(AUDIO, VIDEO, AUDIO)],
)
def test_an_answer_to_another_offer_is_refused(answer: str) -> None:
    with pytest.raises(BadRequestError):
        rebuilt_answer(OFFER, answer)


_LINES = st.sampled_from(
    [*OFFER.split("\r\n"), *VIDEO.split("\n"), *AUDIO.split("\n"), "a=x", "m="]
)


@given(st.lists(st.one_of(_LINES, st.text(max_size=40)), max_size=40))
def test_whatever_is_answered_janus_gets_its_own_numbers_or_nothing(lines: list[str]) -> None:
    try:
        answer, _ = rebuilt_answer(OFFER, "\r\n".join(lines))
    except BadRequestError:
        return
    numbers = [line.split(" ")[3:] for line in answer.split("\r\n") if line.startswith("m=")]
    assert numbers == [["111"], ["107", "108"]]


def test_a_publisher_is_asked_for_capture_times_where_it_offered_them() -> None:
    offer = parse_offer(
        description(
            f"m=video 9 UDP/TLS/RTP/SAVPF 96\na=sendonly\na=mid:0\na=setup:actpass\n"
            f"a=extmap:5 {ABS_CAPTURE_TIME_URI}"
        )
    )
    janus = description("m=video 9 UDP/TLS/RTP/SAVPF 96\na=recvonly\na=mid:0\na=setup:active")
    answer = answer_with_capture_times(janus, offer)
    assert answer.count(f"a=extmap:5 {ABS_CAPTURE_TIME_URI}") == 1
    assert answer_with_capture_times(answer, offer) == answer
    assert capture_time_ids(offer) == {"video": 5}


def test_tracks_are_known_by_the_answer() -> None:
    assert mids_and_codecs(OFFER) == {"audio": ("0", "opus"), "video": ("1", "h264")}
    assert mids_and_codecs(OFFER.replace("m=audio 9", "m=audio 0")) == {"video": ("1", "h264")}
