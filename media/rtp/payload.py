"""From H.264 access units to RTP payloads (RFC 6184, packetization mode 1). Pure.

The opposite of :mod:`media.rtp.depayload`, for frames that came without RTP.
"""

from collections.abc import Iterator
from typing import Final

from media.hls.avc import split_annex_b

PAYLOAD_BYTES_MAX: Final = 1_200
"""What fits a path of 1,280 bytes, the least of IPv6, with SRTP and TURN around it."""
_STAP_A, _FU_A = 24, 28
_START, _END = 0x80, 0x40
_AUD, _FILLER = 9, 12


def h264_payloads(access_unit: bytes) -> list[bytes]:
    """The payloads of one access unit (Annex B), in order; the last one's packet is marked.

    Delimiters and filler, which say nothing to a decoder, are left out. Empty for an access unit
    that holds nothing else.
    """
    units = [u for u in split_annex_b(access_unit) if u[0] & 31 not in (_AUD, _FILLER)]
    payloads: list[bytes] = []
    small: list[bytes] = []
    for unit in units:
        if len(unit) > PAYLOAD_BYTES_MAX:
            payloads += _aggregate(small)
            payloads += _fragments(unit)
            small = []
            continue
        if small and _aggregated_bytes(small) + 2 + len(unit) > PAYLOAD_BYTES_MAX:
            payloads += _aggregate(small)
            small = []
        small.append(unit)
    return payloads + _aggregate(small)


def h264_profile(access_unit: bytes) -> str:
    """profile_idc and constraints as in profile-level-id's first four digits; empty where the
    access unit has no parameter set."""
    for unit in split_annex_b(access_unit):
        if unit[0] & 31 == 7 and len(unit) >= 4:
            return unit[1:3].hex()
    return ""


def _aggregated_bytes(units: list[bytes]) -> int:
    return 1 + sum(2 + len(unit) for unit in units)


def _aggregate(units: list[bytes]) -> list[bytes]:
    """Units in one packet (5.7.1); one alone goes as it is."""
    if len(units) < 2:
        return units
    importance = max(unit[0] & 0x60 for unit in units)
    return [
        bytes((importance | _STAP_A,))
        + b"".join(len(unit).to_bytes(2, "big") + unit for unit in units)
    ]


def _fragments(unit: bytes) -> Iterator[bytes]:
    """One unit over several packets (5.8)."""
    indicator, kind = unit[0] & 0xE0 | _FU_A, unit[0] & 31
    step = PAYLOAD_BYTES_MAX - 2
    for at in range(1, len(unit), step):
        edge = (_START if at == 1 else 0) | (_END if at + step >= len(unit) else 0)
        yield bytes((indicator, edge | kind)) + unit[at : at + step]
