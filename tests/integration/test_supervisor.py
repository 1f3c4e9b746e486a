"""The supervisor: restarts the dead, leaves nothing behind, gives way to nobody."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator

import pytest

from engagement.child_process import command_of
from tests.conftest import free_ports, open_directory
from tests.faults.instance import Instance, Ports
from tests.waiting import until


@pytest.fixture
async def private() -> AsyncIterator[Instance]:
    directory = open_directory()
    first, media, kafka, _, database = free_ports(5)
    instance = Instance(
        directory, Ports(gateway=first, media=media, kafka=kafka, database=database)
    )
    await instance.start(1)
    yield instance
    await asyncio.to_thread(instance.stop)
    shutil.rmtree(directory, ignore_errors=True)


def pids(instance: Instance) -> dict[str, int]:
    found: dict[str, int] = json.loads((instance.directory / "data" / "pids.json").read_text())
    return found


async def gone(all_pids: list[int]) -> bool:
    return not any(command_of(pid) for pid in all_pids)


async def test_whatever_is_killed_comes_back(private: Instance) -> None:
    for name in ("worker-0", "projector", "gateway-0", "broker", "database"):
        before = pids(private)[name]
        os.kill(before, signal.SIGKILL)

        async def back(name: str = name, before: int = before) -> bool:
            return pids(private).get(name, before) != before

        await until(back, f"{name} is started again")
    await private.wait_ready(private.gateways(1)[0])


async def test_a_killed_supervisor_leaves_no_orphan_that_blocks_the_next_start(
    private: Instance,
) -> None:
    before = pids(private)
    os.kill(before["supervisor"], signal.SIGKILL)
    private.reap()
    await until(lambda: gone(list(before.values())), "all children are gone")
    await private.start(1)
    assert pids(private)["supervisor"] != before["supervisor"]


async def test_ctrl_c_stops_everything_and_keeps_the_data(private: Instance) -> None:
    before = pids(private)
    os.kill(before["supervisor"], signal.SIGINT)
    private.reap()
    assert await gone(list(before.values()))
    assert not (private.directory / "data" / "pids.json").exists()
    assert list((private.directory / "data" / "kafka" / "log").glob("live.room.v1-*"))


async def test_a_second_instance_of_the_same_data_is_refused(private: Instance) -> None:
    second = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "engagement", "up"],
        env=private.environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert second.returncode == 1
    assert "data_dir_in_use" in second.stderr
    assert str(pids(private)["supervisor"]) in second.stderr
