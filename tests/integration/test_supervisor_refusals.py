"""What `engagement up` refuses to start with, and that it says why at once."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from engagement import child_process
from engagement.errors import ConflictError, UnavailableError
from engagement.settings import Settings
from engagement.supervisor import Supervisor
from tests.conftest import free_ports, process_environment
from tests.waiting import until

pytestmark = pytest.mark.engines

OURS = ("gateway", "worker", "project", "media", "marks")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    for parent in (tmp_path, *tmp_path.parents):
        if str(parent).startswith("/tmp/") and os.access(parent, os.W_OK):
            parent.chmod(parent.stat().st_mode | 0o011)
    kafka, _, database, port, media = free_ports(5)
    return Settings(
        data_dir=tmp_path / "data",
        kafka_port=kafka,
        database_port=database,
        port=port,
        media_port=media,
        auth="dev",
    )


def pids(settings: Settings) -> dict[str, int]:
    found: dict[str, int] = json.loads((settings.data_dir / "pids.json").read_text())
    return found


async def started_pids(settings: Settings) -> dict[str, int]:
    return pids(settings) if (settings.data_dir / "pids.json").exists() else {}


@asynccontextmanager
async def engines_only(settings: Settings) -> AsyncIterator[Supervisor]:
    """A supervisor that runs the engines, in this process, until the block ends."""
    supervisor = Supervisor(settings, without=OURS)
    ready = asyncio.Event()
    running = asyncio.create_task(supervisor.run(ready.set))
    started = asyncio.create_task(ready.wait())
    await asyncio.wait((running, started), return_when=asyncio.FIRST_COMPLETED)
    started.cancel()
    if running.done():
        await running
    try:
        yield supervisor
    finally:
        os.kill(os.getpid(), signal.SIGTERM)
        await running


async def test_other_partitions_than_the_log_has_are_refused(settings: Settings) -> None:
    """A room's partition follows from their number: all histories would be torn apart."""
    async with engines_only(settings):
        assert set(pids(settings)) == {"supervisor", "broker", "database"}
    other = settings.model_copy(update={"partitions": settings.partitions * 2})
    with pytest.raises(ConflictError, match=f"ENGAGEMENT_PARTITIONS={settings.partitions}"):
        async with engines_only(other):
            pass
    assert not (settings.data_dir / "pids.json").exists()


async def test_an_engine_that_cannot_start_is_told_with_its_own_words(settings: Settings) -> None:
    meta = settings.data_dir / "kafka" / "log" / "meta.properties"
    meta.parent.mkdir(parents=True)
    meta.write_text("version=1\nnode.id=77\ncluster.id=someone-elses\n")
    began_s = time.monotonic()
    with pytest.raises(UnavailableError, match=r"broker ended with code 1: .*server\.log") as told:
        async with engines_only(settings):
            pass
    assert told.value.code == "engine_failed"
    assert time.monotonic() - began_s < 40


async def test_a_taken_port_is_told_before_anything_is_started(settings: Settings) -> None:
    with (
        socket.create_server(("127.0.0.1", settings.media_port)),
        pytest.raises(ConflictError, match="ENGAGEMENT_MEDIA_PORT"),
    ):
        await Supervisor(settings).run()
    assert not (settings.data_dir / "kafka").exists()


async def test_being_stopped_while_starting_leaves_nothing(settings: Settings) -> None:
    up = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "engagement",
        "up",
        env=process_environment(settings),
        stderr=subprocess.PIPE,
    )
    assert up.stderr is not None
    while b"starting Kafka" not in (line := await up.stderr.readline()):
        assert line, "it ended"
    started = await until(lambda: started_pids(settings), "an engine is started")
    up.send_signal(signal.SIGINT)
    assert await asyncio.wait_for(up.wait(), 30) == 0
    assert not any(child_process.command_of(pid) for pid in started.values())
