"""A host at home, drawn: talks, blinks, wears a name, and is delighted by gifts.

The picture is a function of media time and of what the host reacts to. Everything is drawn once;
a frame is that, with the pieces that move pasted in.
"""

from collections.abc import Callable, Sequence
from math import sin
from typing import Final

import av
from msgspec import Struct

from engagement.host_video import burned_clock
from engagement.host_video.burned_clock import Burned
from engagement.host_video.canvas import (
    WHITE,
    Box,
    Canvas,
    Colour,
    Piece,
    capsule,
    ellipse,
    mixed,
    rgb,
    rounded,
    within,
    without,
)
from engagement.host_video.lettering import width_of, write

WIDTH: Final = 640
HEIGHT: Final = 360
CLOCK_ROWS: Final = 16
"""A row of macroblocks: the cells stay clear of what moves below them."""
REACTION_MS: Final = 1_600.0
FLASH_MS: Final = 420.0
"""How long the picture is brighter when a gift arrives."""
_FLASH_LUMA: Final = 70
_COLOURLESS: Final = b"\x80" * (WIDTH * CLOCK_ROWS // 4)
_MOUTHS: Final = 5
"""From closed to wide open."""
_BLINK_EVERY_MS: Final = 3_700.0
_BLINK_MS: Final = 140.0
_FACE: Final = Box(276, 146, 88, 64)
_EYES: Final = Box(284, 146, 72, 28)
_MOUTH: Final = Box(296, 182, 48, 28)
_PILL: Final = Box(252, 24, 136, 28)
_DIGIT: Final = Box(258, 30, 14, 18)
_THANKS: Final = Box(170, 52, 300, 22)
_BARS: Final = tuple(range(10))
_LAMPS: Final = ((42, 70, 17), (98, 44, 9), (120, 96, 12), (66, 132, 8),
                 (590, 84, 20), (524, 52, 10), (556, 140, 9), (500, 112, 7))  # fmt: skip
"""Out of focus: middle and radius."""
_DARK: Final = rgb(22, 20, 34)
_SKIN: Final = rgb(240, 196, 166)
_SHADE: Final = rgb(214, 160, 134)
_LIPS: Final = rgb(140, 48, 62)


class Look(Struct, frozen=True):
    """What tells one host from another."""

    name: str
    sky: Colour
    floor: Colour
    shirt: Colour
    hair: Colour


class Reaction(Struct, frozen=True):
    """A gift that the host has just seen."""

    at_ms: float
    """Media time at which it was seen."""
    words: str


class HostPicture:
    """Draws one host's frames, 640 by 360."""

    def __init__(self, look: Look) -> None:
        """Takes a few tenths of a second."""
        self._look = look
        base = self._draw_base()
        self._calm = self._draw_host(base, is_reacting=False)
        self._reacting = self._draw_host(base, is_reacting=True)
        self._digits = {glyph: _digit(self._calm, glyph) for glyph in "0123456789:."}
        self._shut_eyes = _drawn_on(self._calm, _EYES, _draw_shut_eyes)
        self._talking = [_mouth(self._calm, share / (_MOUTHS - 1)) for share in range(_MOUTHS)]
        self._flashes = [
            bytes(min(burned_clock.WHITE, luma + step * _FLASH_LUMA // 8) for luma in range(256))
            for step in range(9)
        ]
        self._thanks: tuple[Reaction, Piece] | None = None

    def frame(self, at_ms: float, take: int, reaction: Reaction | None = None) -> av.VideoFrame:
        """The frame at this media time; without times of its own."""
        since_ms = REACTION_MS if reaction is None else at_ms - reaction.at_ms
        is_reacting = reaction is not None and 0 <= since_ms < REACTION_MS
        canvas = (self._reacting if is_reacting else self._calm).copy()
        if is_reacting and reaction is not None:
            canvas.paste(self._words_of(reaction))
        else:
            canvas.paste(self._talking[round(_voice(at_ms) * (_MOUTHS - 1))])
            if at_ms % _BLINK_EVERY_MS < _BLINK_MS:
                canvas.paste(self._shut_eyes)
        self._draw_bars(canvas, at_ms, is_reacting=is_reacting)
        self._draw_clock(canvas, at_ms)
        luma = canvas.planes[0]
        if is_reacting and since_ms < FLASH_MS:
            luma = luma.translate(self._flashes[round(8 * (1 - since_ms / FLASH_MS))])
        row = burned_clock.luma_row(Burned(take, int(at_ms), is_reacting), WIDTH)
        luma[: WIDTH * CLOCK_ROWS] = row * CLOCK_ROWS
        for plane in canvas.planes[1:]:
            plane[: WIDTH * CLOCK_ROWS // 4] = _COLOURLESS
        return _video_frame([luma, *canvas.planes[1:]])

    def _words_of(self, reaction: Reaction) -> Piece:
        if self._thanks is None or self._thanks[0] is not reaction:

            def draw(canvas: Canvas) -> None:
                height = min(
                    14.0, 14.0 * (_THANKS.width - 8) / max(1.0, width_of(reaction.words, 14.0))
                )
                left = WIDTH / 2 - width_of(reaction.words, height) / 2
                write(canvas, reaction.words, left, _THANKS.y + 4, height, WHITE)

            self._thanks = (reaction, _drawn_on(self._reacting, _THANKS, draw))
        return self._thanks[1]

    # --- what stands still ------------------------------------------------------------------------

    def _draw_base(self) -> Canvas:
        """What is behind the host, and the pill that the clock stands on."""
        look, canvas = self._look, Canvas(WIDTH, HEIGHT)
        for y in range(HEIGHT):
            canvas.fill_row(y, mixed(look.sky, look.floor, (y / HEIGHT) ** 1.4))
        self._draw_room(canvas)
        canvas.draw(rounded(_PILL, 14), _PILL, _DARK, 0.85)
        return canvas

    def _draw_host(self, base: Canvas, *, is_reacting: bool) -> Canvas:
        canvas = base.copy()
        self._draw_body(canvas, is_reacting=is_reacting)
        self._draw_head(canvas)
        if is_reacting:
            _draw_happy_face(canvas)
        else:
            _draw_open_eyes(canvas)
        return canvas

    def _draw_room(self, canvas: Canvas) -> None:
        """A lamp's light behind the host, and a few lights out of focus."""
        look = self._look
        for radius, opacity in ((168, 0.16), (132, 0.16), (98, 0.2)):
            box = Box(320 - radius, 176 - radius, 2 * radius, 2 * radius)
            light = mixed(look.shirt, WHITE, 0.3)
            canvas.draw(ellipse(320, 176, radius, radius), box, light, opacity)
        for number, (x, y, radius) in enumerate(_LAMPS):
            tint = mixed(look.shirt, rgb(255, 214, 150), number % 3 / 2)
            box = Box(x - radius, y - radius, 2 * radius, 2 * radius)
            canvas.draw(ellipse(x, y, radius, radius), box, tint, 0.3)

    def _draw_body(self, canvas: Canvas, *, is_reacting: bool) -> None:
        look = self._look
        dark = mixed(look.shirt, _DARK, 0.35)
        for side in (-1, 1):
            if is_reacting:
                elbow, hand = (320 + side * 128, 262), (320 + side * 116, 168)
            else:
                elbow, hand = (320 + side * 106, 352), (320 + side * 92, 400)
            shoulder = (320 + side * 62, 268)
            box = Box(320 - 150 if side < 0 else 320 + 30, 140, 120, 220)
            canvas.draw(capsule(*shoulder, *elbow, 21), box, dark)
            canvas.draw(capsule(*elbow, *hand, 17), box, dark)
            canvas.draw(ellipse(hand[0], hand[1] - 8, 19, 21), box, _SKIN)
        chest = Box(232, 240, 176, 160)
        canvas.draw(rounded(chest, 52), Box(232, 240, 176, 120), look.shirt)
        canvas.draw(capsule(320, 216, 320, 252, 20), Box(296, 196, 48, 80), _SHADE)
        name = look.name[:12]
        height = min(24.0, 24.0 * 150 / max(150.0, width_of(name, 24.0)))
        write(canvas, name, 320 - width_of(name, height) / 2, 302, height, WHITE)

    def _draw_head(self, canvas: Canvas) -> None:
        hair = self._look.hair
        canvas.draw(ellipse(320, 152, 68, 76), Box(250, 74, 140, 160), hair)
        canvas.draw(capsule(262, 160, 266, 226, 14), Box(244, 140, 44, 104), hair)
        canvas.draw(capsule(378, 160, 374, 226, 14), Box(352, 140, 44, 104), hair)
        canvas.draw(ellipse(320, 168, 52, 60), Box(266, 106, 108, 124), _SKIN)
        fringe = within(ellipse(320, 138, 60, 44), without(ellipse(320, 130, 62, 46),
                                                           ellipse(334, 190, 62, 58)))  # fmt: skip
        canvas.draw(fringe, Box(258, 88, 124, 80), hair)
        for side in (-1, 1):
            cheek = ellipse(320 + side * 34, 184, 10, 6)
            canvas.draw(cheek, Box(_FACE.x, 176, _FACE.width, 18), rgb(244, 150, 140), 0.5)
        canvas.draw(capsule(321, 170, 319, 178, 1.6), Box(312, 164, 16, 20), _SHADE)

    # --- what moves -------------------------------------------------------------------------------

    def _draw_bars(self, canvas: Canvas, at_ms: float, *, is_reacting: bool) -> None:
        """The host's voice, to the left and to the right."""
        luma = canvas.planes[0]
        loud = 1.0 if is_reacting else _voice(at_ms)
        for bar in _BARS:
            swing = 0.5 + 0.5 * sin(at_ms / 90 + bar * 1.9) * sin(at_ms / 410 + bar)
            half = 3 + int(loud * swing * 34 * (1 - bar / 13))
            shade = bytes([205 - bar * 11]) * 6
            for x in (182 - bar * 14, 452 + bar * 14):
                for y in range(196 - half, 196 + half):
                    luma[y * WIDTH + x : y * WIDTH + x + 6] = shade

    def _draw_clock(self, canvas: Canvas, at_ms: float) -> None:
        luma = canvas.planes[0]
        minutes, rest_ms = divmod(int(at_ms), 60_000)
        text = f"{minutes:02}:{rest_ms // 1000:02}.{rest_ms % 1000 // 10:02}"[-9:]
        left = (WIDTH - len(text) * _DIGIT.width) // 2
        for number, glyph in enumerate(text):
            data, x = self._digits[glyph], left + number * _DIGIT.width
            for row in range(_DIGIT.height):
                at = (_DIGIT.y + row) * WIDTH + x
                luma[at : at + _DIGIT.width] = data[row * _DIGIT.width : (row + 1) * _DIGIT.width]


def _voice(at_ms: float) -> float:
    """How loud the host is, 0 to 1: sentences, words, and pauses between them."""
    sentence = min(1.0, max(0.0, sin(at_ms / 1_900) * 2 + 1.1))
    return sentence * (0.5 + 0.5 * sin(at_ms / 71) * sin(at_ms / 233))


def _drawn_on(canvas: Canvas, box: Box, draw: Callable[[Canvas], None]) -> Piece:
    twin = canvas.copy()
    draw(twin)
    return twin.cut(box)


def _digit(canvas: Canvas, glyph: str) -> bytes:
    """Luma alone: white on a grey pill has no colour."""

    def draw(twin: Canvas) -> None:
        write(twin, glyph, _DIGIT.x + 2, _DIGIT.y + 1, 15.0, WHITE)

    # In the pill's middle, where it is dark from edge to edge.
    return _drawn_on(canvas, _DIGIT, draw).planes[0]


def _mouth(canvas: Canvas, openness: float) -> Piece:
    def draw(twin: Canvas) -> None:
        high = 2.0 + 8.0 * openness
        lips = ellipse(320, 194, 13.0 - 3.0 * openness, high)
        twin.draw(lips, _MOUTH, _LIPS)
        if openness > 0.4:
            inner = ellipse(320, 194, 9.0 - 2.0 * openness, high - 3)
            twin.draw(inner, _MOUTH, mixed(_LIPS, _DARK, 0.7))

    return _drawn_on(canvas, _MOUTH, draw)


def _draw_open_eyes(canvas: Canvas) -> None:
    for x in (300, 340):
        canvas.draw(ellipse(x, 162, 5.5, 7.5), _EYES, _DARK)
        canvas.draw(ellipse(x + 2, 159, 1.8, 2.0), _EYES, WHITE)


def _draw_shut_eyes(canvas: Canvas) -> None:
    for x in (300, 340):
        canvas.draw(ellipse(x, 162, 8, 9.5), _EYES, _SKIN)
        canvas.draw(capsule(x - 6, 164, x + 6, 164, 1.6), _EYES, _DARK)


def _draw_happy_face(canvas: Canvas) -> None:
    for x in (300, 340):
        arc = without(ellipse(x, 164, 8, 8), ellipse(x, 167, 8, 8))
        canvas.draw(arc, _EYES, _DARK)
    smile = within(ellipse(320, 184, 20, 22), rounded(Box(296, 186, 48, 30), 4))
    canvas.draw(smile, _MOUTH, _LIPS)
    canvas.draw(rounded(Box(306, 186, 28, 5), 2), _MOUTH, WHITE)


def _video_frame(planes: Sequence[bytes | bytearray]) -> av.VideoFrame:
    frame = av.VideoFrame(WIDTH, HEIGHT, "yuv420p")
    for index, (plane, data) in enumerate(zip(frame.planes, planes, strict=True)):
        width = WIDTH if index == 0 else WIDTH // 2
        if plane.line_size == width:
            plane.update(bytes(data))
        else:
            pad = bytes(plane.line_size - width)
            rows = range(0, len(data), width)
            plane.update(b"".join(bytes(data[at : at + width]) + pad for at in rows))
    return frame


MIKA: Final = Look("Mika", rgb(36, 28, 74), rgb(118, 58, 92), rgb(222, 92, 112), rgb(44, 30, 40))
JUNO: Final = Look("Juno", rgb(14, 42, 66), rgb(30, 92, 104), rgb(58, 150, 168), rgb(96, 58, 34))
