"""Gifts: how soon a tap is decided and on every viewer's socket, and how many a second are paid."""

import asyncio
import uuid
from typing import Final

import aiohttp

from benchmarks import bed, programs
from benchmarks.latency import HOP
from benchmarks.references import kafka_hop
from benchmarks.targets import Figure, Report

GIFT: Final = "bench-gift"
USERS: Final = 5_000
"""As many as the load has (plan.go)."""
COINS: Final = 1_000_000
RATE: Final = 500
FLOOD: Final = 60_000
FLOOD_BATCH: Final = 100
FLOOD_CONNECTIONS: Final = 16
ROOMS: Final = 50
VIEWERS: Final = 20


async def measure(quick: bool) -> Report:
    """One instance: a steady flow singly, then as many as it takes."""
    programs.build("viewers")
    async with bed.running(rooms=ROOMS) as instance:
        gateway = instance.gateways(1)[0]
        await _prepare(gateway)
        hop = await kafka_hop(instance.bootstrap, 200, 2 if quick else 5)
        decided, steady = [
            await programs.viewers(
                watch=gateway, post=gateway, gift=GIFT, rooms=ROOMS, viewers=viewers, rate=RATE,
                seconds=4 if quick else 30, warmup=2 if quick else 5,
            )
            for viewers in (1, VIEWERS)
        ]  # fmt: skip
        events = FLOOD // 10 if quick else FLOOD
        flood = await programs.viewers(
            watch=gateway, post=gateway, gift=GIFT, rooms=ROOMS, viewers=1, rate=0,
            events=events, batch=FLOOD_BATCH, conns=FLOOD_CONNECTIONS,
        )  # fmt: skip
    alone = f"{RATE}/s one by one, {ROOMS} rooms of 1"
    name = f"{RATE}/s one by one, {ROOMS} rooms of {VIEWERS}"
    figures = [
        Figure(
            f"{alone}: acknowledged → paid and told, p50", decided.ack_to_frame.p50_ms, "ms",
            reference=hop.consumed_p50_ms, reference_is=HOP,
        ),
        Figure(
            f"{alone}: acknowledged → paid and told, p99", decided.ack_to_frame.p99_ms, "ms", 150,
            reference=hop.consumed_p99_ms, reference_is=HOP,
        ),
        Figure(f"{name}: tap → frame, p50", steady.due_to_frame.p50_ms, "ms", 150),
        Figure(f"{name}: tap → frame, worst", steady.due_to_frame.max_ms, "ms", 1_000),
        Figure(
            "paid gifts, POST in arrays → frame",
            flood.delivered / (flood.due_to_frame.max_ms / 1000), "gifts/s", at_least=3_000,
        ),
    ]  # fmt: skip
    notes = [
        _note(alone, decided),
        _note(name, steady),
        _note(f"{events:,} without a pause", flood),
    ]
    return Report("gifts", "Gifts: paid, and on every socket of the room", figures, notes)


async def _prepare(gateway: str) -> None:
    """A gift without combos, and coins for everybody."""
    headers = {"X-User": "shop", "X-Role": "service"}
    async with aiohttp.ClientSession(f"http://{gateway}", headers=headers) as session:
        body = {"name": "Bench", "coins": 10, "combo": False}
        async with session.put(f"/v1/gifts/{GIFT}", json=body) as answer:
            answer.raise_for_status()
        free = asyncio.Semaphore(32)

        async def buy(user: str) -> None:
            body = {"id": str(uuid.uuid4()), "coins": COINS}
            async with (
                free,
                session.post(f"/v1/accounts/{user}/deposits", json=body) as answer,
            ):
                answer.raise_for_status()

        await asyncio.gather(*(buy(f"user-{number}") for number in range(USERS)))


def _note(name: str, found: programs.Measured) -> str:
    # Gifts of several wallets have no order among them before they are on the room's log.
    whole = "nothing missing or doubled"
    if found.missing or found.repeated:
        whole = f"MISSING {found.missing}, DOUBLED {found.repeated}"
    return (
        f"{name}: {found.acknowledged:,} of {found.events:,} acknowledged, {found.delivered:,} "
        f"delivered, {whole}"
    )
