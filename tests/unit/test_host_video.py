"""The demo's hosts: a clock that is read off the picture, a face that reacts, packets that play."""

from typing import Any

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engagement.host_video import burned_clock
from engagement.host_video.burned_clock import BLACK, CELLS, WHITE, Burned
from engagement.host_video.delight import CALM_MS, react
from engagement.host_video.encoder import FPS, GOP_FRAMES, PictureEncoder, sound_loop
from engagement.host_video.host import is_taken
from engagement.host_video.lettering import STROKES
from engagement.host_video.picture import (
    FLASH_MS,
    HEIGHT,
    MIKA,
    REACTION_MS,
    WIDTH,
    HostPicture,
    Reaction,
)

CELL = WIDTH // CELLS


@pytest.fixture(scope="module")
def picture() -> HostPicture:
    return HostPicture(MIKA)


def lumas(frame: av.VideoFrame) -> list[float]:
    """The middles of the clock's cells."""
    plane = frame.planes[0]
    row = bytes(plane)[8 * plane.line_size : 9 * plane.line_size]
    return [row[CELL * cell + CELL // 2] for cell in range(CELLS)]


def brightness(frame: av.VideoFrame) -> float:
    data = bytes(frame.planes[0])
    return sum(data) / len(data)


@given(st.integers(0, 63), st.integers(0, 2**25 - 1), st.booleans())
def test_what_is_burned_in_is_read_back(take: int, at_ms: int, is_reacting: bool) -> None:
    burned = Burned(take, at_ms, is_reacting)
    row = [WHITE if white else BLACK for white in burned_clock.cells(burned)]
    assert burned_clock.read(row) == burned


@given(st.integers(0, 2**25 - 1), st.integers(0, CELLS - 1))
def test_one_wrong_cell_is_noticed(at_ms: int, cell: int) -> None:
    row = [WHITE if white else BLACK for white in burned_clock.cells(Burned(1, at_ms, False))]
    row[cell] = BLACK if row[cell] == WHITE else WHITE
    assert burned_clock.read(row) is None


@pytest.mark.parametrize("luma", [BLACK, 128, WHITE])
def test_a_picture_of_one_colour_is_no_clock(luma: int) -> None:
    assert burned_clock.read([luma] * CELLS) is None


def test_the_clock_of_every_frame_is_read_after_encoding(picture: HostPicture) -> None:
    encoder = PictureEncoder(WIDTH, HEIGHT)
    decoder = av.CodecContext.create("h264", "r")
    reaction = Reaction(500.0, "Thanks emi_92!")
    read = []
    for number in range(GOP_FRAMES):
        frame = picture.frame(number * 1000 / FPS, 3, reaction)
        packet = encoder.encode(frame, number, is_key=number == 20)
        assert packet.is_keyframe == (number in (0, 20)), "a key frame whenever one is asked for"
        assert packet.pts == packet.dts == number * 3_000
        read += [burned_clock.read(lumas(shown)) for shown in decoder.decode(packet)]
    read += [burned_clock.read(lumas(shown)) for shown in decoder.decode(None)]
    expected = [
        Burned(3, number * 1000 // FPS, number * 1000 / FPS >= 500) for number in range(GOP_FRAMES)
    ]
    assert read == expected


def test_a_gift_lights_the_picture_up_for_a_moment(picture: HostPicture) -> None:
    reaction = Reaction(1_000.0, "Thanks!")
    before, at_once = picture.frame(999, 0, reaction), picture.frame(1_000, 0, reaction)
    after = picture.frame(1_000 + FLASH_MS, 0, reaction)
    assert brightness(at_once) > brightness(before) + 30
    assert abs(brightness(after) - brightness(before)) < 10


def gift(tier: int) -> dict[str, Any]:
    return {"type": "gift.sent", "actorid": "emi", "data": {"tier": tier}}


def test_a_host_is_delighted_by_large_gifts_and_now_and_then_by_small_ones() -> None:
    first = react(None, gift(1), 1_000.0)
    assert first == Reaction(1_000.0, "Thanks emi!")
    assert react(first, gift(1), 1_000.0 + CALM_MS - 1) is None
    assert react(first, gift(1), 1_000.0 + CALM_MS) is not None
    assert react(first, gift(2), 1_000.0 + REACTION_MS - 1) is None, "one at a time"
    assert react(first, gift(2), 1_000.0 + REACTION_MS) is not None
    assert react(None, {"type": "comment.posted"}, 0.0) is None


def test_the_hosts_sound_is_opus_of_twenty_milliseconds_each() -> None:
    packets = sound_loop()
    decoder = av.CodecContext.create("libopus", "r")
    decoder.sample_rate, decoder.layout = 48_000, "mono"
    samples = sum(f.samples for data in packets for f in decoder.decode(av.Packet(data)))
    assert samples == pytest.approx(len(packets) * 960, abs=960)
    assert len(packets) >= 400


def test_every_letter_of_a_name_has_strokes() -> None:
    assert set("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:.!_-") <= set(STROKES)
    for strokes in STROKES.values():
        for line in strokes.split(","):
            points = line.split()
            assert len(points) >= 2
            assert all(int(x) <= 4 and int(y) <= 6 for x, y in points)


def clock(epoch: int, *, running: bool = True, age_ms: float = 1_000.0) -> dict[str, Any]:
    """A room's clock as media tells it at 100,000 ms."""
    anchor = {"wall_ms": 99_500.0 - age_ms, "offset_ms": 500.0}
    return {"running": running, "now": {"epoch": epoch}, "anchors": [anchor]}


def test_a_host_leaves_the_room_to_who_came_later_as_long_as_they_are_on_the_air() -> None:
    assert is_taken(clock(3), own_epoch=2, now_ms=100_000)
    assert not is_taken(clock(3, running=False), own_epoch=2, now_ms=100_000)
    assert not is_taken(clock(3, age_ms=9_000), own_epoch=2, now_ms=100_000), "nobody is there"


def test_a_host_begins_where_nobody_came_later() -> None:
    assert not is_taken(clock(2), own_epoch=2, now_ms=100_000), "that is our own"
    assert not is_taken(clock(2), own_epoch=None, now_ms=100_000), "a host who has just come"
