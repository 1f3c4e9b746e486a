"""The demo's crowd on real engines: everybody gives, visitors are welcomed, hosts fight."""

import asyncio
import json
import signal
import sys
import uuid
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from engagement.crowd.demo_wallets import WELCOME_COINS
from tests.faults.instance import Instance
from tests.waiting import until

pytestmark = pytest.mark.engines


class Demo:
    """A running instance with the demo's crowd beside it."""

    def __init__(self, instance: Instance, http: aiohttp.ClientSession) -> None:
        self.url = f"http://{instance.gateways(1)[0]}/v1"
        self.http = http

    async def get(self, path: str, user: str = "anybody") -> Any:
        async with self.http.get(f"{self.url}/{path}", headers={"X-User": user}) as answer:
            return await answer.json() if answer.status == 200 else {}

    async def told(self, room: str, kind: str) -> list[dict[str, Any]]:
        """Facts of one type in a room's timeline."""
        page = await self.get(f"rooms/{room}/timeline?limit=1000&types={kind}")
        return page.get("items", [])  # type: ignore[no-any-return]


@pytest_asyncio.fixture
async def demo(instance: Instance) -> AsyncIterator[Demo]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "engagement",
        "demo-crowd",
        env={**instance.environment, "ENGAGEMENT_DEMO_VIDEO": "false"},
    )
    try:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as http:
            yield Demo(instance, http)
    finally:
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 10) == 0


async def test_both_rooms_give_visitors_are_welcomed_and_a_battle_begins(demo: Demo) -> None:
    async def all_give() -> bool:
        return all([await demo.told(room, "gift.sent") for room in ("demo", "rival")])

    await until(all_give, "gifts in both rooms", 60)
    visitor = f"visitor-{uuid.uuid4().hex[:8]}"
    live = demo.url.replace("http", "ws") + "/rooms/demo/live"
    headers = {"X-User": visitor}
    async with demo.http.ws_connect(live, protocols=["engagement.v1"], headers=headers):

        async def is_welcomed() -> bool:
            wallet = await demo.get(f"accounts/{visitor}", visitor)
            return bool(wallet.get("coins") == WELCOME_COINS)

        await until(is_welcomed, "coins for the visitor", 30)
        gift = {"id": str(uuid.uuid4()), "type": "gift.send", "data": {"gift": "rose"}}
        async with demo.http.post(
            f"{demo.url}/rooms/demo/events",
            data=json.dumps(gift),
            headers={**headers, "Prefer": "wait=10"},
        ) as answer:
            assert (await answer.json())["results"][0]["status"] == "paid"

    async def both_fight() -> bool:
        started = [await demo.told(room, "battle.started") for room in ("demo", "rival")]
        return all(started)

    await until(both_fight, "a battle in both rooms", 60)
    [mine], [theirs] = [await demo.told(room, "battle.started") for room in ("demo", "rival")]
    assert mine["data"] == theirs["data"]
