"""The instance that a benchmark measures: private, embedded, with its rooms open."""

import contextlib
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp

from tests.faults.instance import Instance, ports_from

FIRST_PORT = 28_700
ROOM_PREFIX = "bench-"
UNLIMITED = {
    "ENGAGEMENT_ADDRESS_REQUESTS_PER_S": "1000000",
    "ENGAGEMENT_ROOM_REQUESTS_PER_S": "1000000",
    "ENGAGEMENT_JOINS_PER_S": "1000",
    "ENGAGEMENT_LOG_LEVEL": "warning",
}
"""All load comes from one address here, which production would not let it."""


@contextlib.asynccontextmanager
async def running(
    *, gateways: int = 1, workers: int = 2, rooms: int = 50
) -> AsyncIterator[Instance]:
    """An instance with open rooms `bench-0` …; everything is removed afterwards."""
    directory = Path(tempfile.mkdtemp(prefix="bench-"))
    directory.chmod(0o755)
    instance = Instance(
        directory,
        ports_from(FIRST_PORT),
        ENGAGEMENT_GATEWAYS=str(gateways),
        ENGAGEMENT_WORKERS=str(workers),
        **UNLIMITED,
    )
    try:
        await instance.start(gateways)
        await _open(instance.gateways(gateways), rooms)
        yield instance
    finally:
        instance.stop()
        shutil.rmtree(directory, ignore_errors=True)


async def _open(gateways: list[str], rooms: int) -> None:
    async with aiohttp.ClientSession(headers={"X-User": "bench"}) as session:
        for number in range(rooms):
            url = f"http://{gateways[0]}/v1/rooms/{ROOM_PREFIX}{number}"
            async with session.put(url, json={"title": "bench", "host": "bench"}) as answer:
                answer.raise_for_status()
        for address in gateways:
            for number in range(rooms):
                url = f"http://{address}/v1/rooms/{ROOM_PREFIX}{number}"
                await _known(session, url)


async def _known(session: aiohttp.ClientSession, url: str) -> None:
    for _ in range(200):
        async with session.get(url) as answer:
            if answer.status == 200 and (await answer.json())["status"] == "open":
                return
    raise TimeoutError(f"{url} does not open")
