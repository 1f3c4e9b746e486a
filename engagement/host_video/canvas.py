"""Drawing on video frames: soft-edged shapes in YUV 4:2:0. Pure, and without a drawing library.

Shapes are signed distances (negative inside), evaluated once a pixel: a picture takes a fraction of
a second and is made once. What moves is pasted from pieces that were drawn beforehand.
"""

from collections.abc import Callable
from math import hypot
from typing import Final, NamedTuple

Distance = Callable[[float, float], float]
"""From a point (x, y in pixels) to the edge of a shape, in pixels; negative inside."""


class Colour(NamedTuple):
    """Video range, BT.601."""

    y: int
    u: int
    v: int


class Box(NamedTuple):
    """A part of a picture; even in all four, as chroma is halved."""

    x: int
    y: int
    width: int
    height: int


class Piece(NamedTuple):
    """Planes of a part of a picture, row by row."""

    box: Box
    planes: tuple[bytes, bytes, bytes]


WHITE: Final = Colour(235, 128, 128)


def rgb(red: int, green: int, blue: int) -> Colour:
    """From 0-255 each (BT.601, video range)."""
    return Colour(
        round(16 + 0.2568 * red + 0.5041 * green + 0.0979 * blue),
        round(128 - 0.1482 * red - 0.2910 * green + 0.4392 * blue),
        round(128 + 0.4392 * red - 0.3678 * green - 0.0714 * blue),
    )


def mixed(one: Colour, other: Colour, share: float) -> Colour:
    """`share` of the other."""
    return Colour(*(round(a + (b - a) * share) for a, b in zip(one, other, strict=True)))


class Canvas:
    """A picture that is being drawn."""

    def __init__(self, width: int, height: int) -> None:
        """Black; both even."""
        self.width, self.height = width, height
        self.planes = (
            bytearray(b"\x10" * (width * height)),
            bytearray(b"\x80" * (width * height // 4)),
            bytearray(b"\x80" * (width * height // 4)),
        )

    def copy(self) -> "Canvas":
        """Another one with the same picture."""
        twin = Canvas.__new__(Canvas)
        twin.width, twin.height = self.width, self.height
        luma, blue, red = self.planes
        twin.planes = (bytearray(luma), bytearray(blue), bytearray(red))
        return twin

    def fill_row(self, y: int, colour: Colour) -> None:
        """A whole row; chroma with the even ones."""
        self.planes[0][y * self.width : (y + 1) * self.width] = bytes([colour.y]) * self.width
        if y % 2 == 0:
            half = self.width // 2
            at = y // 2 * half
            for plane, value in ((self.planes[1], colour.u), (self.planes[2], colour.v)):
                plane[at : at + half] = bytes([value]) * half

    def draw(self, shape: Distance, box: Box, colour: Colour, opacity: float = 1.0) -> None:
        """A shape within a box, its edge softened over a pixel."""
        left, top = max(0, box.x), max(0, box.y)
        right = min(self.width, box.x + box.width)
        bottom = min(self.height, box.y + box.height)
        luma, blue, red = self.planes
        half = self.width // 2
        for y in range(top, bottom):
            for x in range(left, right):
                cover = (0.5 - shape(x + 0.5, y + 0.5)) * opacity
                if cover <= 0:
                    continue
                cover = min(cover, opacity)
                at = y * self.width + x
                luma[at] = round(luma[at] + (colour.y - luma[at]) * cover)
                if x % 2 == 0 and y % 2 == 0:
                    at = y // 2 * half + x // 2
                    blue[at] = round(blue[at] + (colour.u - blue[at]) * cover)
                    red[at] = round(red[at] + (colour.v - red[at]) * cover)

    def cut(self, box: Box) -> Piece:
        """That part, to be pasted again."""
        planes = []
        for index, plane in enumerate(self.planes):
            by = 1 if index == 0 else 2
            stride, x, width = self.width // by, box.x // by, box.width // by
            rows = range(box.y // by, (box.y + box.height) // by)
            planes.append(
                b"".join(bytes(plane[y * stride + x : y * stride + x + width]) for y in rows)
            )
        return Piece(box, (planes[0], planes[1], planes[2]))

    def paste(self, piece: Piece) -> None:
        """Put a part where it was cut."""
        for index, (plane, data) in enumerate(zip(self.planes, piece.planes, strict=True)):
            by = 1 if index == 0 else 2
            stride = self.width // by
            x, width = piece.box.x // by, piece.box.width // by
            for row in range(piece.box.height // by):
                at = (piece.box.y // by + row) * stride + x
                plane[at : at + width] = data[row * width : (row + 1) * width]


def ellipse(x: float, y: float, across: float, high: float) -> Distance:
    """An ellipse by its middle and half axes; the distance is nearly right at its edge."""

    def distance(px: float, py: float) -> float:
        reach = hypot((px - x) / across, (py - y) / high)
        slope = hypot((px - x) / across**2, (py - y) / high**2)
        return (reach - 1) * reach / slope if slope else -min(across, high)

    return distance


def capsule(x: float, y: float, to_x: float, to_y: float, radius: float) -> Distance:
    """A thick line with round ends."""
    run_x, run_y = to_x - x, to_y - y
    length = run_x * run_x + run_y * run_y

    def distance(px: float, py: float) -> float:
        along = ((px - x) * run_x + (py - y) * run_y) / length if length else 0.0
        along = min(1.0, max(0.0, along))
        return hypot(px - x - run_x * along, py - y - run_y * along) - radius

    return distance


def rounded(box: Box, radius: float) -> Distance:
    """A rectangle with round corners."""
    middle_x, middle_y = box.x + box.width / 2, box.y + box.height / 2
    half_x, half_y = box.width / 2 - radius, box.height / 2 - radius

    def distance(px: float, py: float) -> float:
        dx, dy = abs(px - middle_x) - half_x, abs(py - middle_y) - half_y
        return hypot(max(dx, 0.0), max(dy, 0.0)) + min(max(dx, dy), 0.0) - radius

    return distance


def without(shape: Distance, hole: Distance) -> Distance:
    """A shape with another one cut out."""
    return lambda x, y: max(shape(x, y), -hole(x, y))


def within(shape: Distance, other: Distance) -> Distance:
    """What two shapes share."""
    return lambda x, y: max(shape(x, y), other(x, y))
