"""Letters as strokes, for names and clocks in a drawn picture. Pure.

A letter is written on a grid, four across and six high: lines of points, each a digit for x and one
for y. Capitals only; what has no strokes is left blank.
"""

from functools import lru_cache
from itertools import pairwise
from typing import Final

from engagement.host_video.canvas import Box, Canvas, Colour, capsule

STROKES: Final = {
    "A": "06 03 21 43 46,04 44", "B": "00 06 36 45 44 33 03,33 42 41 30 00",
    "C": "41 30 10 01 05 16 36 45", "D": "00 06 26 44 42 20 00", "E": "40 00 06 46,03 33",
    "F": "40 00 06,03 33", "G": "41 30 10 01 05 16 36 45 43 23", "H": "00 06,40 46,03 43",
    "I": "10 30,20 26,16 36", "J": "30 35 26 16 05", "K": "00 06,40 03 46", "L": "00 06 46",
    "M": "06 00 23 40 46", "N": "06 00 46 40", "O": "10 01 05 16 36 45 41 30 10",
    "P": "06 00 30 41 42 33 03", "Q": "10 01 05 16 36 45 41 30 10,24 46",
    "R": "06 00 30 41 42 33 03,23 46", "S": "41 30 10 01 02 13 33 44 45 36 16 05",
    "T": "00 40,20 26", "U": "00 05 16 36 45 40", "V": "00 26 40", "W": "00 16 23 36 40",
    "X": "00 46,40 06", "Y": "00 23 40,23 26", "Z": "00 40 06 46",
    "0": "10 01 05 16 36 45 41 30 10", "1": "11 20 26,16 36", "2": "01 10 30 41 42 06 46",
    "3": "01 10 30 41 42 33 44 45 36 16 05,23 33", "4": "36 30 04 44",
    "5": "40 00 03 33 44 45 36 06", "6": "40 20 02 05 16 36 45 44 33 03", "7": "00 40 16",
    "8": "13 02 01 10 30 41 42 33 13 04 05 16 36 45 44 33",
    "9": "06 26 44 41 30 10 01 02 13 43", ".": "26 26", ":": "22 22,25 25", "!": "20 24,26 26",
    "-": "13 33", "_": "06 46", "'": "20 21", "+": "13 33,22 24",
}  # fmt: skip
TEXT_CHARS_MAX: Final = 40
"""Of one line; names may be longer than any picture is wide."""


def width_of(text: str, height: float) -> float:
    """How wide a line of such capitals is, in pixels."""
    return max(0.0, len(text[:TEXT_CHARS_MAX]) * 1.05 - 0.38) * height


def write(canvas: Canvas, text: str, x: float, y: float, height: float, colour: Colour) -> None:
    """A line of capitals with its upper left corner there."""
    grid = height / 6
    for number, letter in enumerate(text.upper()[:TEXT_CHARS_MAX]):
        left = x + number * height * 1.05
        for stroke in _strokes(letter):
            for (x0, y0), (x1, y1) in pairwise(stroke):
                line = capsule(
                    left + x0 * grid, y + y0 * grid, left + x1 * grid, y + y1 * grid, height * 0.085
                )
                canvas.draw(line, _around(left, y, grid, (x0, x1), (y0, y1)), colour)


def _around(left: float, top: float, grid: float, xs: tuple[int, int], ys: tuple[int, int]) -> Box:
    margin = grid + 2
    x, y = int(left + min(xs) * grid - margin), int(top + min(ys) * grid - margin)
    right, bottom = left + max(xs) * grid + margin, top + max(ys) * grid + margin
    return Box(x, y, int(right) - x + 1, int(bottom) - y + 1)


@lru_cache(maxsize=128)
def _strokes(letter: str) -> tuple[tuple[tuple[int, int], ...], ...]:
    lines = STROKES.get(letter, "")
    return tuple(
        tuple((int(point[0]), int(point[1])) for point in line.split())
        for line in lines.split(",")
        if line
    )
