"""Where the embedded broker's jars come from: a directory that was named, or Maven by `jgo`."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from engagement.errors import UnavailableError
from engagement.settings import Settings

KAFKA_VERSION: Final = "4.3.1"
COORDINATES: Final = f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}+org.slf4j:slf4j-simple:1.7.36"
"""Without slf4j-simple the broker logs nothing at all."""
JARS_BYTES: Final = 45_000_000
"""What comes down the first time, for the progress bar."""


def cache_dir(settings: Settings) -> Path:
    """Where downloads are kept for all instances of this user."""
    if settings.cache_dir is not None:
        return settings.cache_dir
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "live-engagement"


def find_jars(settings: Settings) -> list[Path]:
    """All jars of the broker; downloads them the first time, with a progress bar.

    Raises UnavailableError when they cannot be had.
    """
    if settings.kafka_jars_dir is not None:
        jars = sorted(settings.kafka_jars_dir.glob("*.jar"))
        if not any(jar.name.startswith("kafka_2.13-") for jar in jars):
            raise UnavailableError(
                f"no kafka_2.13-*.jar in ENGAGEMENT_KAFKA_JARS_DIR={settings.kafka_jars_dir}",
                code="kafka_jars_missing",
            )
        return jars
    cache = cache_dir(settings)
    cache.mkdir(parents=True, exist_ok=True)
    marker = cache / f"kafka-{KAFKA_VERSION}.jars"
    with _locked(cache / "jars.lock"):
        known = _known(marker)
        if known:
            return known
        with _progress(cache):
            jars = _resolve(cache)
        marker.write_text("\n".join(map(str, jars)))
        return jars


def _known(marker: Path) -> list[Path]:
    try:
        jars = [Path(line) for line in marker.read_text().splitlines()]
    except OSError:
        return []
    return jars if jars and all(jar.exists() for jar in jars) else []


def _resolve(cache: Path) -> list[Path]:
    import jgo

    try:
        environment = jgo.build(COORDINATES, cache_dir=cache / "jgo")
    except Exception as error:
        raise UnavailableError(
            f"cannot fetch Kafka's jars ({error}). Check the network, or put the jars of "
            f"{COORDINATES} into a directory and set ENGAGEMENT_KAFKA_JARS_DIR to it.",
            code="kafka_jars_missing",
        ) from error
    # `all_jars`, not `classpath`: the latter leaves the modular jars out.
    return [Path(jar) for jar in environment.all_jars]


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Two first starts at once must not download twice into one directory."""
    with path.open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def _progress(cache: Path) -> Iterator[None]:
    """A bar that follows the bytes that have arrived under the cache directories."""
    import threading

    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
    )

    places = (cache, Path.home() / ".m2" / "repository" / "org" / "apache" / "kafka")

    def held_bytes() -> int:
        total = 0
        for place in places:
            for jar in place.rglob("*.jar*"):
                with contextlib.suppress(OSError):
                    total += jar.stat().st_size
        return total

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeElapsedColumn())
    with Progress(*columns) as progress:
        task = progress.add_task(f"fetching Apache Kafka {KAFKA_VERSION}", total=JARS_BYTES)
        done = threading.Event()
        before = held_bytes()

        def follow() -> None:
            while not done.wait(0.3):
                progress.update(task, completed=min(held_bytes() - before, JARS_BYTES))

        thread = threading.Thread(target=follow, daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
            progress.update(task, completed=JARS_BYTES)
