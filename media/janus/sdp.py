"""SDP between Janus and the other side. Pure.

Nothing of a viewer's reaches Janus as it came: an answer with payload types of its own makes Janus
1.1.2 crash, with every room in it. What is passed on is Janus' own offer turned around, with the
viewer's transport in it.
"""

import re
import secrets
from typing import Final

from engagement.errors import BadRequestError
from media.engine import Track
from media.janus import bounds
from media.rtp.capture_time import ABS_CAPTURE_TIME_URI
from media.webrtc.offer import Offer, parse_offer

_KEPT: Final = re.compile(r"a=(?:rtpmap|fmtp|rtcp-fb):([0-9]{1,3}) .*")
_EXTMAP: Final = re.compile(r"a=extmap:([0-9]{1,3})(?:/[a-z]+)? (\S+)(?: .*)?")
_TRANSPORT: Final = ("a=ice-ufrag:", "a=ice-pwd:", "a=fingerprint:")
_CANDIDATES: Final = ("a=candidate:", "a=end-of-candidates")


def sections_of(sdp: str) -> list[list[str]]:
    """The session's lines, then each media section's. Raises BadRequestError when it is too
    long."""
    if len(sdp) > bounds.SDP_BYTES_MAX:
        raise BadRequestError("the SDP is too long", code="bad_sdp", field="$")
    sections: list[list[str]] = [[]]
    for line in sdp.replace("\r\n", "\n").rstrip("\n").split("\n"):
        if line.startswith("m="):
            sections.append([])
        sections[-1].append(line)
    return sections


def answer_with_capture_times(answer: str, offer: Offer) -> str:
    """Janus' answer to a publisher, with abs-capture-time where it was offered: the publisher
    then stamps its packets, and Janus, which does not know the extension, forwards them as they
    are."""
    session, *media = sections_of(answer)
    lines = list(session)
    for section in media:
        kind: Track = "video" if section[0].startswith("m=video") else "audio"
        offered = offer.track(kind)
        number = offered.extensions.get(ABS_CAPTURE_TIME_URI) if offered else None
        lines += section
        if number is not None and not any(ABS_CAPTURE_TIME_URI in line for line in section):
            lines.append(f"a=extmap:{number} {ABS_CAPTURE_TIME_URI}")
    return _text(lines)


def capture_time_ids(offer: Offer) -> dict[Track, int]:
    """The extension's number by kind; 0 where it was not offered."""
    return {track.kind: track.extensions.get(ABS_CAPTURE_TIME_URI, 0) for track in offer.tracks}


def mids_and_codecs(answer: str) -> dict[Track, tuple[str, str]]:
    """Of each section that was taken: its mid, and its codec as RTP names it, in lower case."""
    found: dict[Track, tuple[str, str]] = {}
    for section in sections_of(answer)[1:]:
        kind: Track = "video" if section[0].startswith("m=video") else "audio"
        mid = next((line[6:] for line in section if line.startswith("a=mid:")), "")
        parts = section[0].split(" ")
        codec = next(
            (
                line.partition(" ")[2].partition("/")[0].lower()
                for line in section
                if len(parts) > 3 and line.startswith(f"a=rtpmap:{parts[3]} ")
            ),
            "",
        )
        if parts[1] != "0" and codec and kind not in found:
            found[kind] = (mid, codec)
    return found


def rebuilt_answer(janus_offer: str, answer: str) -> tuple[str, str]:
    """A viewer's answer as Janus may have it, and the viewer's ICE user name.

    Raises BadRequestError for an answer that cannot be one to this offer.
    """
    given = parse_offer(answer)
    session, *theirs = sections_of(given.sdp)
    offered = sections_of(janus_offer)[1:]
    if len(theirs) != len(offered):
        raise BadRequestError("the answer has other sections than the offer", code="bad_sdp")
    lines: list[str] = []
    for ours, their in zip(offered, theirs, strict=True):
        lines += _rebuilt_section(ours, their, session)
    mids = " ".join(line[6:] for line in lines if line.startswith("a=mid:"))
    head = [
        "v=0",
        f"o=- {secrets.randbelow(2**62)} 1 IN IP4 127.0.0.1",
        "s=-",
        "t=0 0",
        f"a=group:BUNDLE {mids}",
    ]
    return _text(head + lines), given.ice_ufrag


def _rebuilt_section(ours: list[str], theirs: list[str], session: list[str]) -> list[str]:
    kind, port, *_ = theirs[0].split(" ")
    if kind != ours[0].split(" ")[0]:
        raise BadRequestError("the answer has other sections than the offer", code="bad_sdp")
    mid = next((line for line in ours if line.startswith("a=mid:")), "a=mid:0")
    numbers = ours[0].split(" ")[3:]
    is_taken = port != "0" and "a=inactive" not in theirs
    extensions = {match[2] for match in map(_EXTMAP.fullmatch, theirs) if match}
    kept = [
        line
        for line in ours
        if ((match := _KEPT.fullmatch(line)) and match[1] in numbers)
        or ((extension := _EXTMAP.fullmatch(line)) and extension[2] in extensions)
    ]
    transport = [
        line for line in [*theirs, *session] if line.startswith((*_TRANSPORT, *_CANDIDATES))
    ]
    is_passive = "a=setup:passive" in theirs or "a=setup:passive" in session
    return [
        " ".join([kind, "9" if is_taken else "0", "UDP/TLS/RTP/SAVPF", *numbers]),
        "c=IN IP4 0.0.0.0",
        "a=recvonly" if is_taken else "a=inactive",
        mid,
        "a=rtcp-mux",
        "a=setup:passive" if is_passive else "a=setup:active",
        *kept,
        *transport,
    ]


def _text(lines: list[str]) -> str:
    return "\r\n".join(lines) + "\r\n"
