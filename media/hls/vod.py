"""The playlist of a recording, as text. Pure.

Source: RFC 8216bis, 4.4.3.5. The same tags as the live playlist has, so that a page replays a
stream as it watched it: dates, media times and marks.
"""

from collections.abc import Iterator, Sequence

from media.frames import VIDEO_RATE_HZ
from media.hls import bounds
from media.hls.playlist import date_range, date_time, media_time, seconds
from media.hls.recording import Entry, RecordedHeader, RecordedMark, RecordedSegment
from media.hls.window import DatedMark


def render_vod(epochs: Sequence[tuple[int, list[Entry]]], *, is_over: bool) -> str:
    """The playlist of these epochs, each with its index, in order.

    One that is not over grows at its end only (EVENT). Segments are named `<epoch>/<n>.m4s`, by
    their place in the index.
    """
    entries = [entry for _, index in epochs for entry in index]
    longest = max((e.ticks for e in entries if isinstance(e, RecordedSegment)), default=0)
    target = max(bounds.TARGET_DURATION_S, round(longest / VIDEO_RATE_HZ))
    lines = [
        "#EXTM3U",
        "#EXT-X-VERSION:7",
        f"#EXT-X-TARGETDURATION:{target}",
        "#EXT-X-MEDIA-SEQUENCE:0",
        f"#EXT-X-PLAYLIST-TYPE:{'VOD' if is_over else 'EVENT'}",
    ]
    # Whoever marks tells a mark again after a restart.
    marks = {entry.mark.id: entry for entry in entries if isinstance(entry, RecordedMark)}
    lines += [date_range(DatedMark(entry.mark, entry.server_ms)) for entry in marks.values()]
    has_begun = False
    for epoch, index in epochs:
        for line in _epoch_lines(epoch, index):
            if line == "#EXT-X-DISCONTINUITY" and not has_begun:
                continue
            has_begun = True
            lines.append(line)
    if is_over:
        lines.append("#EXT-X-ENDLIST")
    return "\n".join(lines) + "\n"


def _epoch_lines(epoch: int, index: list[Entry]) -> Iterator[str]:
    for number, entry in enumerate(index):
        if isinstance(entry, RecordedHeader):
            yield "#EXT-X-DISCONTINUITY"
            yield f'#EXT-X-MAP:URI="{epoch}/init-{number}.mp4"'
        elif isinstance(entry, RecordedSegment):
            yield f"#EXT-X-PROGRAM-DATE-TIME:{date_time(entry.server_ms)}"
            yield media_time(epoch, entry.pts_ms)
            yield f"#EXTINF:{seconds(entry.ticks)},"
            yield f"{epoch}/{number}.m4s"
