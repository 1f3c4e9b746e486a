"""A clock that programs read off the picture: one row of black and white cells. Pure.

It survives encoding, scaling and a screenshot. From the left, the highest bit first:

====================  ====  ====================================================================
take                     6  which publication this is, counted modulo 64
reaction                 1  the host is reacting to a gift
media time              25  ms since the take's first frame, modulo 2^25 (nine hours)
checksum                 8  CRC-8 of the 32 bits before it
====================  ====  ====================================================================

The cells span the whole width, so a reader needs to know nothing but where the row is.
"""

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

TAKE_BITS: Final = 6
TIME_BITS: Final = 25
PAYLOAD_BITS: Final = TAKE_BITS + 1 + TIME_BITS
CELLS: Final = PAYLOAD_BITS + 8
CLOCK_MODULUS_MS: Final = 1 << TIME_BITS
BLACK: Final = 16
WHITE: Final = 235
"""Luma of video range (BT.601)."""
_POLYNOMIAL: Final = 0x07
"""x^8 + x^2 + x + 1: CRC-8 as in ATM headers (ITU-T I.432.1)."""


class Burned(Struct, frozen=True):
    """What a frame says of itself."""

    take: int
    at_ms: int
    is_reacting: bool


def cells(burned: Burned) -> list[bool]:
    """The row, white where true. `at_ms` and `take` are reduced to their bits."""
    take = burned.take % (1 << TAKE_BITS)
    payload = (take << 1 | burned.is_reacting) << TIME_BITS | burned.at_ms % CLOCK_MODULUS_MS
    code = payload << 8 | _checksum(payload)
    return [bool(code >> (CELLS - 1 - cell) & 1) for cell in range(CELLS)]


def read(lumas: Sequence[float]) -> Burned | None:
    """What the middles of the cells say, from the left; None where the checksum is wrong."""
    threshold = (max(lumas) + min(lumas)) / 2
    code = 0
    for luma in lumas:
        code = code << 1 | (luma > threshold)
    payload = code >> 8
    if _checksum(payload) != code & 0xFF:
        return None
    return Burned(
        take=payload >> (TIME_BITS + 1),
        at_ms=payload % CLOCK_MODULUS_MS,
        is_reacting=bool(payload >> TIME_BITS & 1),
    )


def luma_row(burned: Burned, width: int) -> bytes:
    """One row of luma, `width` a multiple of the number of cells."""
    cell = width // CELLS
    return b"".join(bytes([WHITE if is_white else BLACK]) * cell for is_white in cells(burned))


def _checksum(payload: int) -> int:
    # Begins with all ones: a picture that is black from end to end is no clock.
    remainder = 0xFF
    for byte in payload.to_bytes(PAYLOAD_BITS // 8, "big"):
        remainder ^= byte
        for _ in range(8):
            overflows = remainder & 0x80
            remainder = (remainder << 1) & 0xFF ^ (_POLYNOMIAL if overflows else 0)
    return remainder
