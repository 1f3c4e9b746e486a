"""Every bound of HLS, with its unit and its reason."""

from typing import Final

PART_TARGET_S: Final = 0.28
"""PART-TARGET: at 15, 20, 24, 25, 30, 50 and 60 frames a second a whole number of frames comes to
86-100 % of it, as the draft wants (85 %). Three of them are what a player stays behind."""
PART_HOLD_BACK_S: Final = 0.85
"""PART-HOLD-BACK: three part targets, the least that the draft recommends (4.4.3.8), rounded up."""
TARGET_DURATION_S: Final = 3
"""EXT-X-TARGETDURATION. It may never change, so it must hold for every publisher."""
SEGMENT_S: Final = 2.0
"""A key frame is asked for after so long; encoders at home are set to the same."""
SEGMENT_MIN_S: Final = 1.0
"""Key frames come more often when viewers join over WebRTC; segments need not."""
SEGMENT_MAX_S: Final = 3.4
"""Where no key frame comes, a segment ends without: rounded, it must not exceed the target."""
KEY_FRAME_AGAIN_TICKS: Final = 45_000
"""A request may be lost: it is repeated every half second."""
FRAME_MS_MAX: Final = 10_000
"""The clock ends an epoch long before a frame lasts so long; a longer one breaks the timeline."""
COMPOSITION_TICKS_MAX: Final = 10 * 90_000
"""Decoding 10 s before showing is no live stream."""
AUDIO_WAIT_TICKS: Final = 45_000
"""Sound that is further behind the video than this is taken to be missing: half a second."""
SOUND_QUEUE_PACKETS_MAX: Final = 1_000
"""Sound without video: 20 s of it, or 2.5 s of the shortest packets."""
SOUND_SNAP_MS: Final = 15.0
"""A packet whose time is this near to the end of the one before follows it without a gap: times
that come from a clock jitter, samples do not."""
PART_BYTES_MAX: Final = 16 * 1024 * 1024
"""Video of one part: 400 Mbit/s."""

WINDOW_S: Final = 30.0
"""What the live playlist reaches back: enough for a player at three target durations, and more than
delta updates skip."""
WINDOW_BYTES_MAX: Final = 64 * 1024 * 1024
"""Of one room in memory: 17 Mbit/s for 30 s. Above it the window is shorter."""
PARTS_LISTED_S: Final = 3 * TARGET_DURATION_S
"""Parts older than three target durations need not be listed (rfc8216bis, 6.2.2)."""
SKIP_UNTIL_S: Final = 6 * TARGET_DURATION_S
"""CAN-SKIP-UNTIL: at least six target durations."""
PARTS_AHEAD_MAX: Final = 11
"""Advance Part Limit: three seconds of parts (rfc8216bis, 6.2.5.2)."""
MARKS_MAX: Final = 200
"""EXT-X-DATERANGE of one room's window; the oldest go first."""
MARK_ATTRIBUTES_MAX: Final = 16
"""Attributes of one mark; what has more belongs on the timeline, not into a playlist."""
MARK_TEXT_CHARS_MAX: Final = 256
"""One attribute of a mark."""

ROOMS_MAX: Final = 64
"""Rooms that one process packages: at 2 Mbit/s half a gigabyte of windows. A media process serves
fewer publishers than this."""
WAITING_MAX: Final = 20_000
"""Requests that wait for media, over all rooms: 5 kB each. More are answered 503 at once."""
WAIT_S: Final = 3.0 * TARGET_DURATION_S
"""A blocked request is answered after three target durations, whatever there is (6.2.5.2)."""
START_WAIT_S: Final = 6.0
"""How long the first request of a stream waits for its first whole segment."""
LINGER_S: Final = 60.0
"""A publisher who has gone may come back for so long; then the playlist ends."""
FORGET_S: Final = 60.0
"""And after so long more the room is forgotten."""
GZIP_LEVEL: Final = 6
"""A playlist of 4 kB becomes 0.6 kB; it is packed once a version for all."""

RECORDING_PENDING_BYTES_MAX: Final = 64 * 1024 * 1024
"""Segments on their way to a disk; a slower one ends the recording, not the stream."""
RECORDING_FREE_BYTES_MIN: Final = 512 * 1024 * 1024
"""What recordings leave free on their disk: the broker's log may be on the same."""
INDEXES_CACHED_MAX: Final = 32
"""Indexes of ended epochs in memory: 10 MB each for a day of video."""
VOD_EPOCHS_MAX: Final = 1_000
"""Epochs in one playlist."""
RECORDINGS_LISTED_MAX: Final = 100
"""Epochs in one list of a room's recordings: each costs a look into its index."""
