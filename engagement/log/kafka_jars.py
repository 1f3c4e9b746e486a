"""Where the embedded broker's jars come from: a directory that was named, or Maven by `jgo`.

Jars that were fetched lie flat in one directory of the user's cache, which is what
`ENGAGEMENT_KAFKA_JARS_DIR` wants on a machine without a network: copy it there.
"""

import contextlib
import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from engagement.errors import UnavailableError
from engagement.settings import Settings

KAFKA_VERSION: Final = "4.3.1"
COORDINATES: Final = f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}+org.slf4j:slf4j-simple:1.7.36"
"""Without slf4j-simple the broker logs nothing at all."""
JARS_BYTES: Final = 45_000_000
"""What comes down the first time, for the progress bar."""

Tell = Callable[[str, int, int], None]
"""Is told what is going on, how much of it is done, and of how much (0: nobody knows)."""


def silent(what: str, done: int, total: int) -> None:
    """A `Tell` for those who do not want to know."""


def cache_dir(settings: Settings) -> Path:
    """Where downloads are kept for all instances of this user."""
    if settings.cache_dir is not None:
        return settings.cache_dir
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "live-engagement"


def find_jars(settings: Settings, tell: Tell = silent) -> list[Path]:
    """All jars of the broker; fetches them the first time.

    Raises UnavailableError when they cannot be had.
    """
    if settings.kafka_jars_dir is not None:
        return _jars_in(
            settings.kafka_jars_dir, f"ENGAGEMENT_KAFKA_JARS_DIR={settings.kafka_jars_dir}"
        )
    place = cache_dir(settings) / f"kafka-{KAFKA_VERSION}"
    if not place.exists():
        with locked(cache_dir(settings)):
            if not place.exists():
                _fetch(place, tell)
    return _jars_in(place, str(place))


@contextlib.contextmanager
def locked(cache: Path) -> Iterator[None]:
    """Two first starts at once must not prepare the same thing twice in one directory."""
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _jars_in(directory: Path, named: str) -> list[Path]:
    jars = sorted(directory.resolve().glob("*.jar"))
    if not any(jar.name.startswith("kafka_2.13-") for jar in jars):
        raise UnavailableError(f"no kafka_2.13-*.jar in {named}", code="kafka_jars_missing")
    return jars


def _fetch(place: Path, tell: Tell) -> None:
    """Into a directory that gets its name when it is whole.

    `jgo` writes a jar where it will stay and trusts whatever it finds there later: a download
    that is cut off would break every later start, so it never works in the final place.
    """
    staging = place.with_name(f"{place.name}.fetching")
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    whole = staging / "whole"
    whole.mkdir()
    try:
        for jar in _resolve(staging, tell):
            shutil.move(jar, whole / jar.name)
    except Exception as error:
        raise UnavailableError(
            f"cannot fetch Kafka's jars ({error}). Check the network, or put the jars of "
            f"{COORDINATES} into a directory and set ENGAGEMENT_KAFKA_JARS_DIR to it.",
            code="kafka_jars_missing",
        ) from error
    whole.replace(place)
    shutil.rmtree(staging, ignore_errors=True)


def _resolve(staging: Path, tell: Tell) -> list[Path]:
    from jgo.env import EnvironmentBuilder, LinkStrategy
    from jgo.maven import MavenContext, PythonResolver

    what = f"fetching Apache Kafka {KAFKA_VERSION}"
    arrived = 0
    tell(f"asking which jars Apache Kafka {KAFKA_VERSION} needs", 0, 0)

    @contextlib.contextmanager
    def follow(_name: str, _total: int) -> Iterator[Callable[[int], None]]:
        def more(count: int) -> None:
            nonlocal arrived
            arrived += count
            tell(what, min(arrived, JARS_BYTES), JARS_BYTES)

        yield more

    context = MavenContext(
        resolver=PythonResolver(progress_callback=follow), repo_cache=staging / "repository"
    )
    builder = EnvironmentBuilder(
        context, cache_dir=staging / "environment", link_strategy=LinkStrategy.COPY
    )
    # `all_jars`, not `classpath`: the latter leaves the modular jars out.
    return list(builder.from_endpoint(COORDINATES).all_jars)
