"""The live playlist, as text: one for low-latency players and plain ones alike. Pure.

Source: draft-pantos-hls-rfc8216bis. Beside its tags each segment carries one of ours, which players
leave out (6.3.1): `#EXT-X-LIVE-MEDIA-TIME:EPOCH=<n>,PTS=<ms>`, the exact media time of its first
frame. PROGRAM-DATE-TIME says the same on the server's clock.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from media.frames import VIDEO_RATE_HZ
from media.hls import bounds
from media.hls.window import DatedMark, LiveSegment, LiveWindow

_UNIX = datetime(1970, 1, 1, tzinfo=UTC)


def render(window: LiveWindow, *, skip: bool = False) -> str:
    """The playlist of the window; with `skip` a delta update, where that is shorter."""
    segments = list(window.segments)
    skipped = _skippable(segments) if skip else 0
    lines = [
        "#EXTM3U",
        "#EXT-X-VERSION:9",
        f"#EXT-X-TARGETDURATION:{bounds.TARGET_DURATION_S}",
        "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES"
        f",CAN-SKIP-UNTIL={bounds.SKIP_UNTIL_S:.1f}"
        f",PART-HOLD-BACK={bounds.PART_HOLD_BACK_S:.3f}"
        f",HOLD-BACK={3 * bounds.TARGET_DURATION_S:.1f}",
        f"#EXT-X-PART-INF:PART-TARGET={bounds.PART_TARGET_S:.3f}",
        f"#EXT-X-MEDIA-SEQUENCE:{segments[0].msn if segments else window.next_msn}",
    ]
    if segments:
        first = segments[0]
        number = first.discontinuity - first.is_discontinuous
        lines.append(f"#EXT-X-DISCONTINUITY-SEQUENCE:{number}")
    lines += [date_range(dated) for dated in window.marks]
    if skipped:
        lines.append(f"#EXT-X-SKIP:SKIPPED-SEGMENTS={skipped}")
    lines += _segment_lines(segments, skipped)
    if window.is_over:
        lines.append("#EXT-X-ENDLIST")
    else:
        msn, part = window.next_part()
        lines.append(f'#EXT-X-PRELOAD-HINT:TYPE=PART,URI="{msn}.{part}.m4s"')
    return "\n".join(lines) + "\n"


def _skippable(segments: list[LiveSegment]) -> int:
    """How many segments lie before the skip boundary (4.4.5.2)."""
    remaining = 0
    for count, segment in enumerate(reversed(segments)):
        remaining += segment.ticks
        if remaining > bounds.SKIP_UNTIL_S * VIDEO_RATE_HZ:
            return len(segments) - count - 1
    return 0


def _segment_lines(segments: list[LiveSegment], skipped: int) -> Iterator[str]:
    ahead = sum(segment.ticks for segment in segments)
    header = -1
    for number, segment in enumerate(segments):
        lists_parts = ahead <= bounds.PARTS_LISTED_S * VIDEO_RATE_HZ or not segment.is_done
        ahead -= segment.ticks
        if number < skipped:
            continue
        if segment.is_discontinuous:
            yield "#EXT-X-DISCONTINUITY"
        if segment.header != header:
            header = segment.header
            yield f'#EXT-X-MAP:URI="init-{header}.mp4"'
        yield f"#EXT-X-PROGRAM-DATE-TIME:{date_time(segment.server_ms)}"
        yield media_time(segment.epoch, segment.pts_ms)
        if lists_parts:
            yield from _part_lines(segment)
        if segment.is_done:
            yield f"#EXTINF:{seconds(segment.ticks)},"
            yield f"{segment.msn}.m4s"


def _part_lines(segment: LiveSegment) -> Iterator[str]:
    for index, part in enumerate(segment.parts):
        independent = ",INDEPENDENT=YES" if part.is_independent else ""
        uri = f"{segment.msn}.{index}.m4s"
        yield f'#EXT-X-PART:DURATION={seconds(part.ticks)},URI="{uri}"{independent}'


def date_range(dated: DatedMark) -> str:
    """A mark as EXT-X-DATERANGE (4.4.5.1)."""
    mark = dated.mark
    line = f'#EXT-X-DATERANGE:ID="{_quotable(mark.id)}",CLASS="{_quotable(mark.kind)}"'
    line += f',START-DATE="{date_time(dated.server_ms)}"'
    if mark.duration_ms > 0:
        line += f",DURATION={mark.duration_ms / 1000:.3f}"
    line += f',X-EPOCH={mark.epoch},X-PTS="{mark.pts_ms:.3f}"'
    for name, value in mark.attributes.items():
        line += f',X-{_attribute_name(name)}="{_quotable(value)}"'
    return line


def media_time(epoch: int, pts_ms: float) -> str:
    """Our own tag: the media time of a segment's first frame."""
    return f"#EXT-X-LIVE-MEDIA-TIME:EPOCH={epoch},PTS={pts_ms:.3f}"


def date_time(unix_ms: float) -> str:
    """ISO 8601 to the millisecond, as players read it."""
    # By way of whole ms: a float of 13 digits and a datetime would each round on their own.
    moment = _UNIX + timedelta(milliseconds=round(unix_ms))
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"


def seconds(ticks: int) -> str:
    """A duration in decimal, to the microsecond."""
    return f"{ticks / VIDEO_RATE_HZ:.6f}"


def _quotable(text: str) -> str:
    """What may stand between quotes (4.2): no quote, no line end, nothing that cannot print."""
    cut = text[: bounds.MARK_TEXT_CHARS_MAX]
    return "".join(character for character in cut if character.isprintable() and character != '"')


def _attribute_name(name: str) -> str:
    """Attribute names are upper-case letters, digits and hyphens (4.2)."""
    upper = name.upper().replace("_", "-")[: bounds.MARK_TEXT_CHARS_MAX]
    return "".join(c for c in upper if c.isascii() and (c.isalnum() or c == "-"))
