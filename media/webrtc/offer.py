"""What an SDP offer asks for, looked at before anything is built for it. Pure.

WHIP and WHEP sessions have one video at most, one audio at most, on one transport (RFC 9725
section 4.4.1, RFC 8843). What an engine would act on is taken from here; candidates that it could
not use, or that it would have to look up, are taken out.
"""

import ipaddress
import re
from typing import Final, Literal

from msgspec import Struct

from engagement.errors import BadRequestError
from media.engine import Track
from media.webrtc import bounds

Direction = Literal["sendrecv", "sendonly", "recvonly", "inactive"]

_MEDIA: Final = re.compile(r"m=(audio|video) [0-9]{1,5} UDP/TLS/RTP/SAVPF( [0-9]{1,3}){1,64}")
_EXTMAP: Final = re.compile(r"a=extmap:([0-9]{1,3})(?:/[a-z]+)? (\S+)(?: .*)?")
_MID: Final = re.compile(r"a=mid:([A-Za-z0-9!#$%&'*+.^_`{|}~-]{1,16})")
_ICE: Final = re.compile(r"a=ice-(ufrag|pwd):([A-Za-z0-9+/]{4,256})")
_CANDIDATE: Final = re.compile(
    r"a=candidate:[A-Za-z0-9+/]{1,32} 1 (?:udp|UDP) [0-9]{1,10} (\S{1,64}) [0-9]{1,5} typ "
    r"(?:host|srflx|relay)(?: .{0,256})?"
)
_DIRECTIONS: Final[tuple[Direction, ...]] = ("sendrecv", "sendonly", "recvonly", "inactive")


class OfferedTrack(Struct, frozen=True):
    """One media section."""

    kind: Track
    mid: str
    direction: Direction
    extensions: dict[str, int]
    """Header extensions by URI."""
    wants_reference_time: bool
    """Its receiver sends RRTR blocks (RFC 3611) and wants them answered."""


class Offer(Struct, frozen=True):
    """An offer that can be answered."""

    tracks: tuple[OfferedTrack, ...]
    ice_ufrag: str
    sdp: str
    """As it came, with the candidates that are of use."""

    def track(self, kind: Track) -> OfferedTrack | None:
        """The section of a kind."""
        return next((track for track in self.tracks if track.kind == kind), None)


class TrickledCandidates(Struct, frozen=True):
    """An SDP fragment (RFC 8840): more candidates for a session."""

    ice_ufrag: str
    """Empty when the fragment does not say."""
    candidates: tuple[str, ...]
    """Each as in SDP, without `a=`."""
    is_end: bool


def parse_offer(sdp: str) -> Offer:
    """Read an offer. Raises BadRequestError with what is wrong with it."""
    if len(sdp) > bounds.SDP_BYTES_MAX:
        raise _refusal("it is too long")
    lines = sdp.replace("\r\n", "\n").rstrip("\n").split("\n")
    if lines[0] != "v=0":
        raise _refusal("it does not begin with v=0")
    sections = _sections(lines)
    kept, tracks = list(sections[0]), []
    room = bounds.CANDIDATES_MAX
    for section in sections[1:]:
        tracks.append(_track(section))
        usable = [line for line in section if _is_usable(line)]
        candidates = [line for line in usable if line.startswith("a=candidate:")]
        dropped = set(candidates[room:])
        room -= min(room, len(candidates))
        kept += [line for line in usable if line not in dropped]
    _check_tracks(tracks)
    _check_bundle(sections[0], tracks)
    ufrag = _check_ice(sections)
    return Offer(tuple(tracks), ufrag, "\r\n".join(kept) + "\r\n")


def parse_fragment(sdp: str) -> TrickledCandidates:
    """Read an SDP fragment. Raises BadRequestError."""
    if len(sdp) > bounds.SDP_BYTES_MAX:
        raise _refusal("the fragment is too long")
    ufrag, candidates, is_end = "", [], False
    for line in sdp.replace("\r\n", "\n").split("\n"):
        ice = _ICE.fullmatch(line)
        if ice is not None and ice[1] == "ufrag":
            ufrag = ufrag or ice[2]
        elif line == "a=end-of-candidates":
            is_end = True
        elif line.startswith("a=candidate:") and _is_usable(line):
            candidates.append(line[2:])
        elif line and not re.match(r"[a-z]=", line):
            raise _refusal("the fragment is not SDP")
    return TrickledCandidates(ufrag, tuple(candidates[: bounds.CANDIDATES_MAX]), is_end)


def _refusal(detail: str) -> BadRequestError:
    return BadRequestError(f"the SDP cannot be taken: {detail}", code="bad_sdp", field="$")


def _sections(lines: list[str]) -> list[list[str]]:
    sections: list[list[str]] = [[]]
    for line in lines:
        if line.startswith("m="):
            sections.append([])
            if len(sections) > 3:
                raise _refusal("more than one video and one audio")
        if not re.match(r"[a-z]=", line):
            raise _refusal("a line is not <letter>=<value>")
        sections[-1].append(line)
    return sections


def _track(section: list[str]) -> OfferedTrack:
    media = _MEDIA.fullmatch(section[0])
    if media is None:
        raise _refusal("a section is neither audio nor video over UDP/TLS/RTP/SAVPF")
    mids = [match[1] for match in map(_MID.fullmatch, section) if match]
    if len(mids) != 1:
        raise _refusal("a section has not exactly one mid")
    extensions = {
        match[2]: int(match[1])
        for match in map(_EXTMAP.fullmatch, section)
        if match and 1 <= int(match[1]) <= 14
    }
    named = [name for name in _DIRECTIONS if f"a={name}" in section]
    return OfferedTrack(
        kind="video" if media[1] == "video" else "audio",
        mid=mids[0],
        direction=named[0] if named else "sendrecv",
        extensions=extensions,
        wants_reference_time=any(
            line.startswith("a=rtcp-fb:") and line.endswith(" rrtr") for line in section
        ),
    )


def _is_usable(line: str) -> bool:
    """Whether a line stays: candidates only as UDP to an address.

    A name (`….local`, RFC 8839) would have to be looked up; whoever hides behind one dials us.
    """
    if not line.startswith("a=candidate:"):
        return line != "a=end-of-candidates"  # Peer-reflexive ones may always follow.
    candidate = _CANDIDATE.fullmatch(line)
    if candidate is None:
        return False
    try:
        address = ipaddress.ip_address(candidate[1])
    except ValueError:
        return False
    return not (address.is_multicast or address.is_unspecified)


def _check_tracks(tracks: list[OfferedTrack]) -> None:
    kinds = [track.kind for track in tracks]
    if not kinds or len(set(kinds)) != len(kinds):
        raise _refusal("it needs one video at most, one audio at most, and one of them")
    if len({track.mid for track in tracks}) != len(tracks):
        raise _refusal("two sections have the same mid")


def _check_bundle(session: list[str], tracks: list[OfferedTrack]) -> None:
    groups = [line.split(" ")[1:] for line in session if line.startswith("a=group:BUNDLE")]
    if groups != [[track.mid for track in tracks]]:
        raise _refusal("all its sections must be in one BUNDLE group")


def _check_ice(sections: list[list[str]]) -> str:
    for name in ("ufrag", "pwd"):
        in_session = [line for line in sections[0] if line.startswith(f"a=ice-{name}:")]
        for section in sections[1:]:
            given = [line for line in section if line.startswith(f"a=ice-{name}:")] or in_session
            if len(given) != 1 or _ICE.fullmatch(given[0]) is None:
                raise _refusal(f"a section has no usable a=ice-{name}")
    for name in ("a=fingerprint:sha-", "a=setup:"):
        everywhere = any(line.startswith(name) for line in sections[0])
        if not everywhere and not all(
            any(line.startswith(name) for line in section) for section in sections[1:]
        ):
            raise _refusal(f"a section has no {name.partition(':')[0]}")
    return next(
        match[2]
        for section in sections
        for match in map(_ICE.fullmatch, section)
        if match and match[1] == "ufrag"
    )
