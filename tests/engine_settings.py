"""Settings of a media process for tests that run its engines in their own."""

from pathlib import Path
from typing import Any

from engagement.settings import Settings


def settings_of(data_dir: Path, **more: Any) -> Settings:
    """On loopback, for anybody on this machine; no port but those that are asked for."""
    given = {
        "media_rtmp_port": 0,
        "media_srt_port": 0,
        "media_recordings": False,
        "auth": "dev",
    } | more
    return Settings(data_dir=data_dir, **given)
