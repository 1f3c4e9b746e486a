"""PK battles over HTTP, as the outside contract says, against a real gateway and a real worker."""

import asyncio
import json
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest

from engagement.settings import Settings
from tests.conftest import process_environment
from tests.contract.test_gateway_http import is_problem
from tests.gateway_process import GatewayProcess, Worker
from tests.waiting import until

pytestmark = pytest.mark.engines

Sides = tuple[str, str]


@pytest.fixture(scope="module")
def worker(engines: Settings) -> Iterator[Worker]:
    process = Worker(engines)
    process.start()
    yield process
    process.stop()


@pytest.fixture(scope="module")
async def gateway(engines: Settings, worker: Worker) -> AsyncIterator[GatewayProcess]:
    process = GatewayProcess(engines)
    process.start()
    yield await process.ready()
    _, log = process.stop()
    assert "Traceback" not in log, log


@pytest.fixture
async def sides(gateway: GatewayProcess) -> Sides:
    """Two open rooms, hosted by ana and ben."""
    rooms = (f"red-{uuid.uuid4().hex[:12]}", f"blue-{uuid.uuid4().hex[:12]}")
    await gateway.open_room(rooms[0], "ana")
    await gateway.open_room(rooms[1], "ben")
    return rooms


@pytest.fixture
def battle() -> str:
    return f"battle-{uuid.uuid4().hex[:12]}"


class Caller:
    """Somebody who asks for things."""

    def __init__(self, gateway: GatewayProcess, battle: str) -> None:
        self._http = gateway.http
        self._path = f"/v1/battles/{battle}"

    async def put(self, body: Any, user: str = "ana", role: str = "viewer") -> httpx.Response:
        headers = {"X-User": user, "X-Role": role}
        content = body if isinstance(body, bytes) else json.dumps(body)
        return await self._http.put(self._path, content=content, headers=headers)

    async def post(self, what: str, user: str, role: str = "viewer") -> httpx.Response:
        headers = {"X-User": user, "X-Role": role}
        return await self._http.post(f"{self._path}/{what}", headers=headers)

    async def get(self) -> httpx.Response:
        return await self._http.get(self._path)

    async def until_status(self, status: str) -> dict[str, Any]:
        async def looked() -> dict[str, Any] | None:
            told: dict[str, Any] = (await self.get()).json()
            return told if told["status"] == status else None

        told = await until(looked, f"status {status}", 60)
        assert told is not None
        return told


@pytest.fixture
def call(gateway: GatewayProcess, battle: str) -> Caller:
    return Caller(gateway, battle)


async def test_a_battle_from_the_invitation_to_its_end(
    gateway: GatewayProcess, call: Caller, battle: str, sides: Sides
) -> None:
    red, blue = sides
    answer = await call.put({"rooms": [red, blue], "duration_s": 3})
    assert answer.status_code == 201, answer.text
    told = answer.json()
    assert (told["battle"], told["status"], told["duration_s"]) == (battle, "invited", 3)
    assert told["sides"] == [
        {"room": red, "host": "ana", "score": 0, "accepted": True},
        {"room": blue, "host": "ben", "score": 0, "accepted": False},
    ]
    assert told["started"] is None
    accepted = await call.post("accept", "ben")
    assert accepted.status_code == 200, accepted.text
    running = accepted.json()
    assert running["status"] == "running"
    assert running["revision"] > told["revision"]
    assert running["deadline"] > running["started"]
    await _fill(gateway, "viv", 1_000)
    gift = {"type": "gift.send", "data": {"gift": "rose", "count": 5}, "id": str(uuid.uuid4())}
    sent = await gateway.http.post(
        f"/v1/rooms/{blue}/events",
        content=json.dumps(gift),
        headers={"X-User": "viv", "Prefer": "wait=10"},
    )
    assert sent.json()["results"][0]["status"] == "paid", sent.text
    ended = await call.until_status("ended")
    scores = {side["room"]: side["score"] for side in ended["sides"]}
    assert scores[red] == 0 < scores[blue]
    assert (ended["result"], ended["winner"], ended["reason"]) == ("win", blue, "deadline")
    assert [each["actor"] for each in ended["top"]] == ["viv"]
    for room in sides:
        shown = await _room_battle(gateway, room, "ended")
        assert {side["room"]: side["score"] for side in shown["sides"]} == scores
        assert (shown["battle"], shown["revision"]) == (battle, ended["revision"])


async def _fill(gateway: GatewayProcess, account: str, coins: int) -> None:
    body = {"id": str(uuid.uuid4()), "coins": coins}
    answer = await gateway.http.post(
        f"/v1/accounts/{account}/deposits",
        content=json.dumps(body),
        headers={"X-User": "shop", "X-Role": "service"},
    )
    assert answer.status_code == 201, answer.text


async def _room_battle(gateway: GatewayProcess, room: str, status: str) -> dict[str, Any]:
    async def looked() -> dict[str, Any] | None:
        battle = (await gateway.http.get(f"/v1/rooms/{room}")).json()["battle"]
        return battle if battle and battle["status"] == status else None

    found = await until(looked, f"{room} showing a battle that is {status}")
    assert found is not None
    return found


async def test_a_battle_that_runs_scores_from_the_moment_it_is_said_to(
    call: Caller, sides: Sides
) -> None:
    await call.put({"rooms": list(sides), "duration_s": 60})
    answer = await call.post("accept", "ben")
    started = answer.json()["started"]
    now = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime())
    assert started[:19] <= now


async def test_the_same_put_again_is_answered_as_it_is(call: Caller, sides: Sides) -> None:
    body = {"rooms": list(sides), "duration_s": 60}
    first = await call.put(body)
    assert first.status_code == 201
    again = await call.put(body)
    assert again.status_code == 200
    assert again.json() == first.json()
    is_problem(await call.put({**body, "duration_s": 61}), 409, "battle_exists")
    is_problem(await call.put({**body, "punish_s": 1}), 409, "battle_exists")
    assert (await call.post("accept", "ben")).status_code == 200
    assert (await call.put(body)).status_code == 200


async def test_many_identical_puts_make_one_battle(call: Caller, sides: Sides) -> None:
    body = {"rooms": list(sides), "duration_s": 60}
    answers = await asyncio.gather(*(call.put(body) for _ in range(8)))
    assert {answer.status_code for answer in answers} <= {200, 201}
    assert [answer.status_code for answer in answers].count(201) == 1


async def test_accepting_twice_is_accepting_once(call: Caller, sides: Sides) -> None:
    await call.put({"rooms": list(sides), "duration_s": 60})
    first = await call.post("accept", "ben")
    again = await call.post("accept", "ben")
    assert again.status_code == 200
    assert again.json()["revision"] == first.json()["revision"]


async def test_a_declined_invitation_is_over(call: Caller, sides: Sides) -> None:
    await call.put({"rooms": list(sides), "duration_s": 60})
    declined = await call.post("decline", "ben")
    assert (declined.status_code, declined.json()["status"]) == (200, "declined")
    assert (await call.post("decline", "ben")).status_code == 200
    is_problem(await call.post("accept", "ben"), 409, "battle_declined")


async def test_an_invitation_is_taken_back_and_a_battle_broken_off(
    gateway: GatewayProcess, call: Caller, sides: Sides
) -> None:
    body = {"rooms": list(sides), "duration_s": 600}
    await call.put(body)
    cancelled = await call.post("cancel", "ana")
    assert (cancelled.status_code, cancelled.json()["status"]) == (200, "cancelled")
    other = Caller(gateway, f"battle-{uuid.uuid4().hex[:12]}")
    await other.put(body)
    await other.post("accept", "ben")
    assert (await other.post("cancel", "ben")).status_code == 200
    ended = await other.until_status("ended")
    assert (ended["result"], ended["reason"]) == ("aborted", "aborted")
    is_problem(await other.post("cancel", "ana"), 409, "battle_ended")
    is_problem(await other.post("accept", "ben"), 409, "battle_ended")


async def test_a_room_fights_one_battle_at_a_time(
    gateway: GatewayProcess, call: Caller, sides: Sides
) -> None:
    body = {"rooms": list(sides), "duration_s": 60}
    await call.put(body)
    await call.post("accept", "ben")
    other = Caller(gateway, f"battle-{uuid.uuid4().hex[:12]}")
    is_problem(await other.put(body), 409, "room_in_battle")
    is_problem(await other.get(), 404, "battle_not_found")


async def test_the_platform_asks_and_answers_for_others(call: Caller, sides: Sides) -> None:
    body = {"rooms": list(sides), "duration_s": 60}
    assert (await call.put(body, "backend", "service")).status_code == 201
    accepted = await call.post("accept", "backend", "service")
    assert accepted.json()["status"] == "running"


async def test_two_rooms_of_one_host_fight_at_once(
    gateway: GatewayProcess, call: Caller, sides: Sides
) -> None:
    other = f"green-{uuid.uuid4().hex[:12]}"
    await gateway.open_room(other, "ana")
    answer = await call.put({"rooms": [sides[0], other], "duration_s": 60})
    assert (answer.status_code, answer.json()["status"]) == (201, "running")
    assert (await call.post("accept", "ana")).status_code == 200


async def test_only_hosts_of_its_rooms_have_a_say(call: Caller, sides: Sides) -> None:
    body = {"rooms": list(sides), "duration_s": 60}
    is_problem(await call.put(body, "mallory"), 403, "forbidden")
    is_problem(await call.put(body, "mallory", "host"), 403, "forbidden")
    await call.put(body)
    for what in ("accept", "decline", "cancel"):
        is_problem(await call.post(what, "mallory"), 403, "forbidden")
    assert (await call.get()).json()["status"] == "invited"


async def test_a_battle_that_nobody_asked_for_is_not_found(call: Caller) -> None:
    is_problem(await call.get(), 404, "battle_not_found")
    for what in ("accept", "decline", "cancel"):
        is_problem(await call.post(what, "ana"), 404, "battle_not_found")


async def test_sides_that_make_no_battle_are_refused(
    gateway: GatewayProcess, call: Caller, sides: Sides
) -> None:
    red, blue = sides
    nowhere = f"room-{uuid.uuid4().hex[:12]}"
    is_problem(await call.put({"rooms": [red, nowhere], "duration_s": 9}), 404, "room_not_found")
    is_problem(await call.put({"rooms": [red, red], "duration_s": 9}), 400, "bad_sides")
    await gateway.http.delete(f"/v1/rooms/{blue}", headers={"X-User": "ben"})
    is_problem(await call.put({"rooms": [red, blue], "duration_s": 9}), 409, "room_closed")
    is_problem(await call.get(), 404, "battle_not_found")


@pytest.mark.parametrize(
    "change",
    [
        {"rooms": ["a"]},
        {"rooms": [f"r{n}" for n in range(10)]},
        {"rooms": ["a", "no room"]},
        {"rooms": ["a", 7]},
        {"rooms": None},
        {"duration_s": 0},
        {"duration_s": -5},
        {"duration_s": 3601},
        {"duration_s": "60"},
        {"duration_s": 1.5},
        {"duration_s": 10**40},
        {"rule": "darts"},
        {"rule": 7},
        {"windows": [{"after_s": 0, "duration_s": 5, "multiplier": 1}]},
        {"windows": [{"after_s": 0, "duration_s": 5, "multiplier": 11}]},
        {"windows": [{"after_s": -1, "duration_s": 5, "multiplier": 2}]},
        {"windows": [{"after_s": 0, "duration_s": 5, "multiplier": 2}] * 11},
        {"punish_s": 601},
        {"surprise": 1},
    ],
    ids=str,
)
async def test_a_body_out_of_bounds_is_refused(
    call: Caller, sides: Sides, change: dict[str, Any]
) -> None:
    body = {"rooms": list(sides), "duration_s": 60, **change}
    answer = await call.put(body)
    assert answer.status_code == 400, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    is_problem(await call.get(), 404, "battle_not_found")


async def test_what_is_no_body_is_refused(call: Caller) -> None:
    for body in (b"", b"{", b"[]", b'{"rooms": ["a","b"]}', b"\xff\xfe"):
        assert (await call.put(body)).status_code == 400


async def test_a_name_that_is_no_battles_is_refused(gateway: GatewayProcess, sides: Sides) -> None:
    body = {"rooms": list(sides), "duration_s": 60}
    is_problem(await Caller(gateway, "a%20b").put(body), 400, "bad_request")
    is_problem(await Caller(gateway, "x" * 65).put(body), 400, "bad_request")
    is_problem(await Caller(gateway, "a%20b").get(), 404, "battle_not_found")


async def test_nobody_in_particular_may_look_and_not_ask(
    gateway: GatewayProcess, call: Caller, battle: str, sides: Sides
) -> None:
    await call.put({"rooms": list(sides), "duration_s": 60})
    assert (await call.get()).status_code == 200
    answer = await gateway.http.post(f"/v1/battles/{battle}/accept")
    is_problem(answer, 401, "unauthorized")


@pytest.fixture
def projector(engines: Settings) -> Iterator[None]:
    """Battles know from the projection that a room has closed."""
    argv = [sys.executable, "-m", "tests.run_projector"]
    process = subprocess.Popen(argv, env=process_environment(engines))
    yield
    process.terminate()
    process.wait(20)


@pytest.mark.usefixtures("projector")
async def test_a_room_that_closes_loses_its_battle(
    gateway: GatewayProcess, call: Caller, sides: Sides
) -> None:
    red, blue = sides
    await call.put({"rooms": [red, blue], "duration_s": 600})
    await call.post("accept", "ben")
    await gateway.http.delete(f"/v1/rooms/{blue}", headers={"X-User": "ben"})
    ended = await call.until_status("ended")
    assert (ended["result"], ended["winner"], ended["reason"]) == ("win", red, "room_closed")
    assert ended["sides"][1]["lost"] == "room_closed"
