"""The formats that can be imported, by name."""

from typing import Final

from engagement.recordings.generic import parse_generic
from engagement.recordings.rows import Parser
from engagement.recordings.tiktok import parse_tiktok
from engagement.recordings.youtube import parse_youtube

FORMATS: Final[dict[str, Parser]] = {
    "youtube": parse_youtube,
    "tiktok": parse_tiktok,
    "generic": parse_generic,
}
