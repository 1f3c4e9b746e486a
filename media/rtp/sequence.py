"""Sequence numbers of 16 bits, as numbers that never wrap (RFC 3550 section 6.4.1, A.1)."""

from typing import Final

SEQUENCE_MODULUS: Final = 1 << 16


def sequence_difference(later: int, earlier: int) -> int:
    """Signed distance of two sequence numbers, right up to half of their range."""
    return (later - earlier + 0x8000) % SEQUENCE_MODULUS - 0x8000


class SequenceUnwrapper:
    """Numbers near the highest one seen so far, unwrapped; the first stays as it is."""

    __slots__ = ("highest",)

    def __init__(self, first: int) -> None:
        self.highest = first

    def peek(self, sequence: int) -> int:
        """The unwrapped number. Does not move."""
        return self.highest + sequence_difference(sequence, self.highest % SEQUENCE_MODULUS)

    def unwrap(self, sequence: int) -> int:
        """The same, and remember it when it is the highest."""
        number = self.peek(sequence)
        self.highest = max(self.highest, number)
        return number
