"""``python -m tests.faults.money.double_spend``: many hands in one wallet.

A round is a wallet with the coins of one gift, and fifty gifts from it at once: half by POST, half
over sockets, through two gateways. Exactly one may be paid, the other forty-nine must be refused,
and the wallet must be empty. In every fifth round it is one gift, sent fifty times, by a wallet
that could pay two: it is paid once, and everybody is told so.
"""

import argparse
import asyncio
import contextlib
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
from msgspec import Struct
from rich.console import Console

from tests.faults.history import History
from tests.faults.instance import ROOT, Instance, ports_from
from tests.faults.run import commit, facts_of_the_machine

from .bank import SERVICE, Bank
from .plan import PRICES, fresh_id

ROUNDS = 500
HANDS = 50
AT_ONCE = 3
"""Rounds at once: each begins when its own fifty are ready."""
ROOM, HOST = "counter", "keeper"
GIFT = "fault-rose"
OUTCOME_S_MAX = 30.0
SAME_EVERY = 5
"""Every so manieth round sends one gift fifty times."""
FRAMES_IN_FLIGHT_MAX = 8
GATEWAYS = 2
_ENCODE = msgspec.json.Encoder().encode


class Round(Struct):
    """What became of one round."""

    number: int
    same: bool
    told: dict[str, int]
    """Outcomes that the fifty hands were told."""
    coins_left: int
    wrong: str = ""


class DoubleSpend:
    """Plays rounds against gateways that are up."""

    def __init__(self, gateways: list[str], bank: Bank, seed: int) -> None:
        self._gateways = gateways
        self._bank = bank
        self._random = random.Random(seed)

    async def prepare(self) -> None:
        """The room, and the price of the gift."""
        await self._bank.prepare({})
        headers = {"X-User": HOST, "X-Role": "host"}
        body = {"title": "one rose left"}
        status, answer = await self._bank.insist("PUT", f"/v1/rooms/{ROOM}", headers, body)
        if status not in (200, 201):
            raise RuntimeError(f"{status} {answer}")

    async def play(self, rounds: int) -> list[Round]:
        """All rounds, some at once."""
        free = asyncio.Semaphore(AT_ONCE)

        async def one(number: int) -> Round:
            async with free:
                return await self._round(number)

        return await asyncio.gather(*map(one, range(rounds)))

    async def paid_in_the_room(self) -> dict[str, int]:
        """Who has given how many coins, as the projections have it."""
        path = f"/v1/rooms/{ROOM}/leaderboard?limit=1000"
        _, answer = await self._bank.insist("GET", path, SERVICE)
        return {each["actor"]: each["coins"] for each in answer["items"]}

    async def _round(self, number: int) -> Round:
        same = number % SAME_EVERY == SAME_EVERY - 1
        user = spender(number)
        await self._bank.deposit(user, PRICES[GIFT] * (2 if same else 1))
        first = fresh_id(self._random)
        ids = [first if same else fresh_id(self._random) for _ in range(HANDS)]
        told = await self._all_at_once(user, ids)
        _, wallet = await self._bank.insist("GET", f"/v1/accounts/{user}", SERVICE)
        made = Round(number, same, dict(told), wallet["coins"])
        expected = {"paid": HANDS} if same else {"paid": 1, "refused": HANDS - 1}
        left = PRICES[GIFT] if same else 0
        if made.told != expected or made.coins_left != left:
            made.wrong = f"{made.told} with {made.coins_left} coins left"
        return made

    async def _all_at_once(self, user: str, ids: list[str]) -> Counter[str]:
        """Send all of them at the same moment; what each was told."""
        posts = ids[: len(ids) // 2]
        shares = [ids[len(posts) :: GATEWAYS], ids[len(posts) + 1 :: GATEWAYS]]
        go = asyncio.Event()
        timeout = aiohttp.ClientTimeout(total=OUTCOME_S_MAX)
        connector = aiohttp.TCPConnector(limit=0)
        async with (
            aiohttp.ClientSession(headers={"X-User": user}, timeout=timeout) as sockets,
            aiohttp.ClientSession(
                headers={"X-User": user, "Prefer": f"wait={OUTCOME_S_MAX:.0f}"},
                timeout=timeout,
                connector=connector,
            ) as session,
            contextlib.AsyncExitStack() as stack,
        ):
            hands: list[Awaitable[list[str]]] = []
            for gateway, share in zip(self._gateways, shares, strict=True):
                url = f"http://{gateway}/v1/rooms/{ROOM}/live"
                socket = await sockets.ws_connect(url, protocols=("engagement.v1",), max_msg_size=0)
                stack.push_async_callback(socket.close)
                await _until_frame(socket, "hello")
                hands.append(_by_socket(socket, share, go))
            for place, request in enumerate(posts):
                gateway = self._gateways[place % GATEWAYS]
                hands.append(_by_post(session, gateway, request, go))
            tasks = [asyncio.ensure_future(hand) for hand in hands]
            await asyncio.sleep(0)
            go.set()
            told = await asyncio.gather(*tasks)
        return Counter(outcome for hand in told for outcome in hand)


def spender(number: int) -> str:
    """Whose wallet a round is about."""
    return f"spender-{number:04d}"


async def _by_post(
    session: aiohttp.ClientSession, gateway: str, request: str, go: asyncio.Event
) -> list[str]:
    await go.wait()
    url = f"http://{gateway}/v1/rooms/{ROOM}/events"
    async with session.post(url, json=_gift(request)) as answer:
        content = await answer.json()
        if answer.status != 202:
            return [f"{answer.status} {content.get('code')}"]
        return [_outcome(content["results"][0])]


async def _by_socket(
    socket: aiohttp.ClientWebSocketResponse, ids: list[str], go: asyncio.Event
) -> list[str]:
    """Frames of one or two gifts; the outcomes, from acks and outcome frames."""
    await go.wait()
    size = -(-len(ids) // FRAMES_IN_FLIGHT_MAX)
    for first in range(0, len(ids), size):
        events = [_gift(request) for request in ids[first : first + size]]
        await socket.send_str(_ENCODE({"t": "send", "events": events}).decode())
    waiting = Counter(ids)
    told: list[str] = []
    async with asyncio.timeout(OUTCOME_S_MAX):
        while waiting.total():
            frame = await _frame(socket)
            if frame["t"] == "error":
                return [*told, *([f"error {frame['code']}"] * waiting.total())]
            for result in frame.get("results", ()):
                outcome = _outcome(result)
                if outcome != "accepted":
                    # An outcome is told once, however often a socket has sent the gift.
                    hands = waiting[result["id"]] if frame["t"] == "outcome" else 1
                    told += [outcome] * hands
                    waiting[result["id"]] -= hands
    return told


def _gift(request: str) -> dict[str, Any]:
    return {"id": request, "type": "gift.send", "data": {"gift": GIFT, "count": 1}}


def _outcome(result: dict[str, Any]) -> str:
    """`paid`, `refused`, `accepted` while it is not known, or what else it is."""
    status, code = result["status"], result.get("code", "")
    if status == "duplicate":
        return str(result.get("outcome", "accepted"))
    if status == "refused" and code != "insufficient_funds":
        return f"refused {code}"
    return f"{status} {code}" if status == "rejected" else str(status)


async def _until_frame(socket: aiohttp.ClientWebSocketResponse, kind: str) -> None:
    while (await _frame(socket))["t"] != kind:
        pass


async def _frame(socket: aiohttp.ClientWebSocketResponse) -> dict[str, Any]:
    message = await socket.receive()
    if message.type is not aiohttp.WSMsgType.TEXT:
        raise ConnectionError(f"{message.type.name} {message.data}")
    frame: dict[str, Any] = msgspec.json.decode(message.data)
    return frame


async def run(
    rounds: int, directory: Path, first_port: int, say: Callable[[str], None], seed: int = 0
) -> dict[str, Any]:
    """An instance with two gateways, all rounds, and the verdict."""
    instance = Instance(directory, ports_from(first_port), ENGAGEMENT_GATEWAYS=str(GATEWAYS))
    history = History(directory / "history.jsonl")
    seed = seed or random.SystemRandom().randrange(1, 1 << 31)
    try:
        await instance.start(GATEWAYS)
        gateways = instance.gateways(GATEWAYS)
        async with Bank(gateways, history, seed) as bank:
            game = DoubleSpend(gateways, bank, seed)
            await game.prepare()
            say(f"{rounds} rounds of {HANDS} gifts")
            began = time.monotonic()
            played = await game.play(rounds)
            seconds = time.monotonic() - began
            shown = await _settled(game, rounds)
    finally:
        history.close()
        instance.stop()
    wrong = [each for each in played if each.wrong]
    twice = {user: coins for user, coins in shown.items() if coins != PRICES[GIFT]}
    return {
        "ok": not wrong and not twice and len(shown) == rounds,
        "commit": commit(),
        "machine": facts_of_the_machine(),
        "rounds": rounds,
        "hands": HANDS,
        "of_one_gift": sum(each.same for each in played),
        "wrong": wrong,
        "shown_otherwise": twice,
        "shown": len(shown),
        "seconds": round(seconds, 1),
    }


async def _settled(game: DoubleSpend, rounds: int) -> dict[str, int]:
    """The leaderboard, when the projection has all rounds, or has had the time for it."""
    deadline = time.monotonic() + OUTCOME_S_MAX
    while True:
        shown = await game.paid_in_the_room()
        if len(shown) >= rounds or time.monotonic() > deadline:
            return shown
        await asyncio.sleep(0.1)


def main(arguments: list[str]) -> int:
    """0 when every round paid once."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.money.double_spend")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--seed", type=int, default=0, help="0 draws one")
    parser.add_argument("--port", type=int, default=28_250, help="first of 50 ports")
    parser.add_argument("--results", type=Path, help="write double-spend.json here")
    chosen = parser.parse_args(arguments)
    console = Console()
    with tempfile.TemporaryDirectory(prefix="double-spend-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        found = asyncio.run(run(chosen.rounds, directory, chosen.port, console.print, chosen.seed))
    console.print(found)
    if chosen.results:
        pretty = msgspec.json.format(msgspec.json.encode(found), indent=2)
        (chosen.results / "double-spend.json").write_bytes(pretty + b"\n")
    return 0 if found["ok"] else 1


if __name__ == "__main__":
    if Path.cwd() != ROOT:
        sys.exit(f"run this in {ROOT}")
    sys.exit(main(sys.argv[1:]))
