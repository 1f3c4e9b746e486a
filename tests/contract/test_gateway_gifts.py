"""Gifts, wallets and the catalogue from outside: two gateways, a worker, real engines."""

import asyncio
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import jwt
import pytest

from engagement.database.connection import create_engine
from engagement.domain import limits
from engagement.domain.rooms import RoomState
from engagement.gateway.clock_follower import ClockFollower
from engagement.gateway.hub import Hub
from engagement.gateway.recent_comments import RecentComments
from engagement.gateway.room_archive import RoomArchive
from engagement.gateway.room_directory import RoomDirectory
from engagement.settings import Settings
from projections.queries import RoomQueries
from tests.contract.test_gateway_http import SECRET, bearer, is_problem
from tests.gateway_process import GatewayProcess, Process, Viewer, Worker, comment
from tests.waiting import until

WAIT = {"Prefer": "wait=20"}


@pytest.fixture(scope="module")
def worker(engines: Settings) -> Iterator[Worker]:
    process = Worker(engines)
    process.start()
    yield process
    _, log = process.stop()
    assert "Traceback" not in log, log


async def ready(engines: Settings, **more: str) -> AsyncIterator[GatewayProcess]:
    process = GatewayProcess(engines, ENGAGEMENT_USER_REQUESTS_PER_S="1000", **more)
    process.start()
    await process.ready()
    await sold(process)
    yield process
    _, log = process.stop()
    assert "Traceback" not in log, log


async def sold(gateway: GatewayProcess) -> None:
    """The ledger has taken the catalogue in."""

    async def roses() -> bool:
        return "rose" in await catalogue(gateway)

    await until(roses, "the catalogue")


@pytest.fixture(scope="module")
async def gateway(engines: Settings, worker: Worker) -> AsyncIterator[GatewayProcess]:
    async for process in ready(engines, ENGAGEMENT_USER_GIFTS_PER_S="1000"):
        yield process


@pytest.fixture(scope="module")
async def other(engines: Settings, worker: Worker) -> AsyncIterator[GatewayProcess]:
    async for process in ready(engines, ENGAGEMENT_USER_GIFTS_PER_S="1000"):
        yield process


@pytest.fixture
def user() -> str:
    """A wallet that no other test knows."""
    return f"user-{uuid.uuid4().hex[:12]}"


@pytest.fixture
async def opened(gateway: GatewayProcess, room: str) -> str:
    """An open room of ana's."""
    await gateway.open_room(room, host=host_of(room))
    return room


def host_of(room: str) -> str:
    """Every room has a host of its own: earnings are not mixed."""
    return f"host-{room}"


async def catalogue(gateway: GatewayProcess) -> dict[str, dict[str, Any]]:
    answer = await gateway.http.get("/v1/gifts")
    return {item["gift"]: item for item in answer.json()["items"]}


def gift(name: str = "rose", request_id: str | None = None, **data: Any) -> dict[str, Any]:
    return {
        "id": request_id or str(uuid.uuid4()),
        "type": "gift.send",
        "data": {"gift": name, **data},
    }


async def send(
    gateway: GatewayProcess, room: str, user: str, requests: Any, **headers: str
) -> httpx.Response:
    return await gateway.http.post(
        f"/v1/rooms/{room}/events", json=requests, headers={"X-User": user, **headers}
    )


async def outcome(gateway: GatewayProcess, room: str, user: str, request: Any) -> dict[str, Any]:
    """What became of one gift, waited for."""
    answer = await send(gateway, room, user, request, **WAIT)
    assert answer.status_code == 202, answer.text
    assert answer.headers["preference-applied"] == "wait=20"
    [result] = answer.json()["results"]
    told: dict[str, Any] = result
    return told


async def backend(
    gateway: GatewayProcess, path: str, body: Any, role: str = "service"
) -> httpx.Response:
    headers = {"X-User": "platform", "X-Role": role}
    return await gateway.http.post(f"/v1/accounts/{path}", json=body, headers=headers)


async def deposit(gateway: GatewayProcess, user: str, coins: int) -> None:
    body = {"id": str(uuid.uuid4()), "coins": coins}
    answer = await backend(gateway, f"{user}/deposits", body)
    assert answer.status_code == 201, answer.text


async def wallet(gateway: GatewayProcess, user: str) -> tuple[int, int]:
    answer = await gateway.http.get(f"/v1/accounts/{user}", headers={"X-User": user})
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert told["account"] == user
    return told["coins"], told["held"]


async def earned(gateway: GatewayProcess, room: str) -> int:
    host = host_of(room)
    answer = await gateway.http.get(f"/v1/hosts/{host}/earnings", headers={"X-User": host})
    assert answer.status_code == 200, answer.text
    return int(answer.json()["coins"])


# --- gifts ---------------------------------------------------------------------------------------


async def test_the_shipped_catalogue_is_sold(gateway: GatewayProcess) -> None:
    sold = await catalogue(gateway)
    assert len(sold) >= 12
    assert sold["rose"] == {
        "gift": "rose",
        "name": "Rose",
        "coins": 1,
        "tier": 1,
        "combo": True,
        "animation": "rose",
        "version": 1,
    }


async def test_a_paid_gift_moves_its_coins_once_and_everybody_sees_it(
    gateway: GatewayProcess, other: GatewayProcess, opened: str, user: str
) -> None:
    await deposit(gateway, user, 100)
    near, far = await gateway.watch(opened), await other.watch(opened)
    sent = gift("coffee", count=3)
    assert await outcome(gateway, opened, user, sent) == {"id": sent["id"], "status": "paid"}
    assert await wallet(other, user) == (85, 0)
    assert await earned(gateway, opened) == 7  # Half of 15, rounded down.
    for viewer in (near, far):
        [fact] = await viewer.events(1, "gift.sent")
        assert (fact["id"], fact["actorid"], fact["data"]["coins"]) == (sent["id"], user, 15)
        assert (fact["data"]["combo_count"], fact["data"]["to"]) == (3, host_of(opened))
        await viewer.leave()


async def test_a_gift_without_the_coins_is_refused_and_stays_refused(
    gateway: GatewayProcess, other: GatewayProcess, opened: str, user: str
) -> None:
    sent = gift()
    refused = {"id": sent["id"], "status": "refused", "code": "insufficient_funds"}
    assert await outcome(gateway, opened, user, sent) == refused
    await deposit(gateway, user, 100)
    for each in (gateway, other):
        again = {**refused, "status": "duplicate", "outcome": "refused"}
        assert await outcome(each, opened, user, sent) == again
    assert await wallet(gateway, user) == (100, 0)
    assert (await outcome(other, opened, user, gift()))["status"] == "paid"


async def test_a_repeat_is_told_the_stored_outcome_by_any_gateway_also_by_one_that_has_just_begun(
    engines: Settings, gateway: GatewayProcess, other: GatewayProcess, opened: str, user: str
) -> None:
    await deposit(gateway, user, 10)
    sent = gift(count=2)
    assert (await outcome(gateway, opened, user, sent))["status"] == "paid"
    duplicate = {"id": sent["id"], "status": "duplicate", "outcome": "paid"}
    changed = {**sent, "data": {"gift": "rose", "count": 3}}
    async for fresh in ready(engines):
        for each in (gateway, other, fresh):
            answer = await send(each, opened, user, sent)
            assert (answer.status_code, answer.json()["results"]) == (202, [duplicate])
            is_problem(await send(each, opened, user, changed), 422, "id_reused")
    assert await wallet(gateway, user) == (8, 0)


async def test_a_repeat_that_is_still_on_its_way_is_waited_for_by_another_gateway(
    gateway: GatewayProcess, other: GatewayProcess, opened: str, user: str
) -> None:
    await deposit(gateway, user, 10)
    sent = gift()
    results = await asyncio.gather(
        *[outcome(each, opened, user, sent) for each in (gateway, other) * 5]
    )
    known = {result.get("outcome", result["status"]) for result in results}
    assert known == {"paid"}
    assert await wallet(gateway, user) == (9, 0)


async def test_two_bodies_that_race_under_one_id_are_one_gift(
    gateway: GatewayProcess, other: GatewayProcess, opened: str, user: str
) -> None:
    await deposit(gateway, user, 100)
    for _ in range(10):
        before, _ = await wallet(gateway, user)
        sent = gift(count=1)
        changed = {**sent, "data": {"gift": "rose", "count": 2}}
        answers = await asyncio.gather(
            send(gateway, opened, user, sent, **WAIT), send(other, opened, user, changed, **WAIT)
        )
        fates = []
        for answer in answers:
            if answer.status_code == 202:
                [result] = answer.json()["results"]
                fates.append(result.get("code", result["status"]))
            else:
                fates.append(answer.json()["code"])
        assert sorted(fates) == ["id_reused", "paid"]
        paid = 1 if fates[0] == "paid" else 2
        assert await wallet(gateway, user) == (before - paid, 0)


async def test_a_batch_mixes_gifts_and_comments_and_rejects_only_what_is_bad(
    gateway: GatewayProcess, opened: str, user: str
) -> None:
    await deposit(gateway, user, 3)
    viewer = await gateway.watch(opened)
    batch = [
        gift(), comment("hi"), gift(count=0), gift("dragon"), gift("galaxy"), gift(count=2),
    ]  # fmt: skip
    answer = await send(gateway, opened, user, batch, **WAIT)
    results = answer.json()["results"]
    assert [each["id"] for each in results] == [each["id"] for each in batch]
    assert [each.get("code", each["status"]) for each in results] == [
        "paid", "accepted", "bad_request", "unknown_gift", "insufficient_funds", "paid",
    ]  # fmt: skip
    assert results[2]["field"] == "$.data.count"
    await viewer.events(2, "gift.sent")
    assert len(await viewer.events(1)) == 1
    await viewer.leave()
    assert await wallet(gateway, user) == (0, 0)


@pytest.mark.parametrize(
    ("request_", "status", "code", "field"),
    [
        (gift("dragon"), 422, "unknown_gift", "$.data.gift"),
        (gift(to="somebody"), 422, "unknown_recipient", "$.data.to"),
        (gift(count=0), 400, "bad_request", "$.data.count"),
        (gift(count=-5), 400, "bad_request", "$.data.count"),
        (gift(count=limits.GIFT_COUNT_MAX + 1), 400, "bad_request", "$.data.count"),
        (gift(count=2**70), 400, "bad_request", "$.data.count"),
        (gift(count=1.5), 400, "bad_request", "$.data.count"),
        (gift(count="1"), 400, "bad_request", "$.data.count"),
        (gift(coins=1), 400, "bad_request", "$.data.coins"),
        (gift(combo=""), 400, "bad_request", "$.data.combo"),
        (gift(request_id="7"), 400, "bad_request", "$.id"),
        ({**gift(), "actor": "somebody"}, 403, "foreign_actor", None),
    ],
)
async def test_a_gift_that_cannot_be_is_refused_by_name_and_moves_nothing(
    gateway: GatewayProcess,
    opened: str,
    user: str,
    request_: dict[str, Any],
    status: int,
    code: str,
    field: str | None,
) -> None:
    await deposit(gateway, user, 10)
    problem = is_problem(await send(gateway, opened, user, request_), status, code)
    assert problem.get("field") == field
    assert await wallet(gateway, user) == (10, 0)


async def test_hosts_closed_rooms_and_the_banned_give_nothing(
    gateway: GatewayProcess, opened: str, user: str
) -> None:
    host = host_of(opened)
    await deposit(gateway, host, 10)
    is_problem(await send(gateway, opened, host, gift()), 422, "self_gift")
    viewer = await gateway.watch(opened)
    ban = {"id": str(uuid.uuid4()), "type": "viewer.ban", "data": {"target": user}}
    assert (await send(gateway, opened, host, ban)).status_code == 202
    await viewer.events(1, "viewer.banned")
    is_problem(await send(gateway, opened, user, gift()), 403, "banned")
    await gateway.http.delete(f"/v1/rooms/{opened}", headers={"X-User": host})
    is_problem(await send(gateway, opened, "somebody", gift()), 409, "room_closed")
    is_problem(await send(gateway, "nowhere", user, gift()), 404, "room_not_found")
    await viewer.leave()
    assert await wallet(gateway, host) == (10, 0)


async def test_a_service_sends_in_the_name_of_many(
    gateway: GatewayProcess, opened: str, user: str
) -> None:
    users = [f"{user}-{number}" for number in range(20)]
    await asyncio.gather(*[deposit(gateway, each, 1) for each in users[:10]])
    batch = [{**gift(), "actor": each} for each in users]
    answer = await send(gateway, opened, "app", batch, **WAIT, **{"X-Role": "service"})
    statuses = [each["status"] for each in answer.json()["results"]]
    assert statuses == ["paid"] * 10 + ["refused"] * 10
    assert await earned(gateway, opened) == 0  # Half of one coin, ten times, rounded down.


async def test_who_sends_gifts_too_fast_is_told_when_to_come_back(
    engines: Settings, gateway: GatewayProcess, opened: str, user: str
) -> None:
    async for slow in ready(engines, ENGAGEMENT_USER_GIFTS_PER_S="1"):
        results = (await send(slow, opened, user, [gift() for _ in range(5)])).json()["results"]
        outcomes = [each.get("code", each["status"]) for each in results]
        assert outcomes == ["accepted"] * 3 + ["rate_limited"] * 2
        answer = await send(slow, opened, user, gift())
        is_problem(answer, 429, "rate_limited")
        assert int(answer.headers["retry-after"]) >= 1


async def test_without_the_database_a_gateway_takes_gifts_and_tells_what_became_of_them(
    engines: Settings, gateway: GatewayProcess, opened: str, user: str
) -> None:
    """The ledger has one, and outcomes come by the log. What is in wallets cannot be told."""
    await deposit(gateway, user, 3)
    nowhere = "postgresql://nobody@127.0.0.1:9/nothing"
    async for alone in ready(engines, ENGAGEMENT_DATABASE_URL=nowhere):
        sent = gift()
        assert (await outcome(alone, opened, user, sent))["status"] == "paid"
        assert (await outcome(gateway, opened, user, sent))["outcome"] == "paid"
        is_problem(await send(alone, opened, user, gift("dragon")), 503, "database_unavailable")
        answer = await alone.http.get(f"/v1/accounts/{user}", headers={"X-User": user})
        is_problem(answer, 503, "database_unavailable")
        body = {"id": str(uuid.uuid4()), "coins": 5}
        answer = await backend(alone, f"{user}/deposits", body)
        is_problem(answer, 503, "database_unavailable")
    assert await wallet(gateway, user) == (2, 0)


# --- sockets -------------------------------------------------------------------------------------


async def frames_of(viewer: Viewer, *kinds: str) -> list[dict[str, Any]]:
    """Read until each kind has come; those, in the order of their coming."""
    found: list[dict[str, Any]] = []
    while {frame["t"] for frame in found} != set(kinds):
        frame = await viewer.next()
        if frame["t"] in kinds:
            found.append(frame)
    return found


async def test_a_socket_gets_its_ack_then_its_outcome(
    gateway: GatewayProcess, opened: str, user: str
) -> None:
    await deposit(gateway, user, 1)
    viewer = await gateway.watch(opened, user=user)
    await viewer.next("hello")
    good, bad = gift(request_id=str(uuid.uuid4()).upper()), gift("dragon")
    await viewer.send(t="send", events=[good, bad])
    ack, told = await frames_of(viewer, "ack", "outcome")
    assert [each["status"] for each in ack["results"]] == ["accepted", "rejected"]
    assert told == {"t": "outcome", "results": [{"id": good["id"], "status": "paid"}]}
    poor = gift()
    await viewer.send(t="send", events=[poor])
    ack, told = await frames_of(viewer, "ack", "outcome")
    assert told["results"] == [
        {"id": poor["id"], "status": "refused", "code": "insufficient_funds"}
    ]
    await viewer.send(t="send", events=[poor])
    ack = await viewer.next("ack")
    assert ack["results"] == [
        {
            "id": poor["id"],
            "status": "duplicate",
            "outcome": "refused",
            "code": "insufficient_funds",
        }
    ]
    assert not [frame for frame in viewer.frames if frame["t"] == "error"]
    await viewer.leave()


async def test_a_gift_that_another_gateway_took_is_told_to_the_socket_that_repeats_it(
    gateway: GatewayProcess, other: GatewayProcess, opened: str, user: str
) -> None:
    await deposit(gateway, user, 10)
    viewer = await other.watch(opened, user=user)
    await viewer.next("hello")
    for _ in range(5):
        sent = gift()
        await asyncio.gather(
            send(gateway, opened, user, sent), viewer.send(t="send", events=[sent])
        )
        ack = await viewer.next("ack")
        if "outcome" not in ack["results"][0]:
            told = await viewer.next("outcome")
            assert told["results"] == [{"id": sent["id"], "status": "paid"}]
    await viewer.leave()
    assert await wallet(gateway, user) == (5, 0)


async def test_fifty_sends_at_once_spend_a_balance_worth_one_gift_once(
    gateway: GatewayProcess, other: GatewayProcess, opened: str, user: str
) -> None:
    """Mixed HTTP and WebSocket over two gateways, all with ids of their own."""
    for round_ in range(5):
        who = f"{user}-{round_}"
        await deposit(gateway, who, 1)
        sockets = [await each.watch(opened, user=who) for each in (gateway, other)]
        for socket in sockets:
            await socket.next("hello")
        fates: Counter[str] = Counter()

        async def over_http(at: GatewayProcess, who: str = who) -> str:
            told = await outcome(at, opened, who, gift())
            return str(told.get("code", told["status"]))

        async def over_socket(socket: Viewer) -> list[str]:
            sent = [gift() for _ in range(10)]
            for each in sent:
                await socket.send(t="send", events=[each])
            told: list[str] = []
            while len(told) < len(sent):
                results = (await socket.next("outcome"))["results"]
                told += [each.get("code", each["status"]) for each in results]
            return told

        by_http = asyncio.gather(*[over_http(each) for each in (gateway, other) * 15])
        by_socket = asyncio.gather(*[over_socket(socket) for socket in sockets])
        fates.update(await by_http)
        for told in await by_socket:
            fates.update(told)
        assert fates == {"paid": 1, "insufficient_funds": 49}
        assert await wallet(other, who) == (0, 0)
        for socket in sockets:
            await socket.leave()


async def test_a_hello_names_the_top_senders_of_the_session(
    gateway: GatewayProcess, other: GatewayProcess, opened: str, user: str
) -> None:
    await deposit(gateway, user, 10)
    watching = await other.watch(opened)
    assert (await watching.next("hello"))["snapshot"]["top_senders"] == []
    assert (await outcome(gateway, opened, user, gift(count=4)))["status"] == "paid"
    await watching.events(1, "gift.sent")
    late = await other.watch(opened)
    snapshot = (await late.next("hello"))["snapshot"]
    assert snapshot["top_senders"] == [{"actor": user, "coins": 4}]
    assert snapshot["battle"] is None
    await watching.leave()
    await late.leave()


# --- wallets -------------------------------------------------------------------------------------


async def test_a_wallet_that_never_was_is_empty(gateway: GatewayProcess, user: str) -> None:
    assert await wallet(gateway, user) == (0, 0)


async def test_a_wallet_is_read_by_its_owner_and_the_platform_alone(
    gateway: GatewayProcess, user: str
) -> None:
    url = f"/v1/accounts/{user}"
    assert (await gateway.http.get(url)).status_code == 401
    for role, status in (
        ("viewer", 403), ("host", 403), ("moderator", 403), ("service", 200), ("admin", 200),
    ):  # fmt: skip
        answer = await gateway.http.get(url, headers={"X-User": "somebody", "X-Role": role})
        assert answer.status_code == status, role
        host = await gateway.http.get(
            f"/v1/hosts/{user}/earnings", headers={"X-User": "somebody", "X-Role": role}
        )
        assert host.status_code == status, role


async def test_a_deposit_is_posted_once(
    gateway: GatewayProcess, other: GatewayProcess, user: str
) -> None:
    body = {"id": str(uuid.uuid4()), "coins": 50}
    answer = await backend(gateway, f"{user}/deposits", body)
    posted = {"id": body["id"], "account": user, "coins": 50, "held": 0}
    assert (answer.status_code, answer.json()) == (201, {**posted, "status": "posted"})
    for each in (gateway, other):
        again = await backend(each, f"{user}/deposits", body, "admin")
        assert (again.status_code, again.json()) == (200, {**posted, "status": "duplicate"})
    more = {**body, "coins": 51}
    is_problem(await backend(other, f"{user}/deposits", more), 422, "id_reused")
    assert await wallet(gateway, user) == (50, 0)


async def test_deposits_that_were_made_at_once_with_one_id_are_one(
    gateway: GatewayProcess, other: GatewayProcess, user: str
) -> None:
    body = {"id": str(uuid.uuid4()), "coins": 5}
    answers = await asyncio.gather(
        *[backend(each, f"{user}/deposits", body) for each in (gateway, other) * 5]
    )
    assert {answer.status_code for answer in answers} <= {200, 201}
    assert await wallet(gateway, user) == (5, 0)


@pytest.mark.parametrize("role", ["viewer", "host", "moderator"])
async def test_only_the_platform_moves_coins(gateway: GatewayProcess, user: str, role: str) -> None:
    body = {"id": str(uuid.uuid4()), "coins": 5}
    for path in ("deposits", "holds", f"holds/{body['id']}/post", "reversals"):
        is_problem(await backend(gateway, f"{user}/{path}", body, role), 403, "forbidden")
    answer = await gateway.http.put(
        "/v1/gifts/rose", json={"name": "R", "coins": 1}, headers={"X-User": "x", "X-Role": role}
    )
    is_problem(answer, 403, "forbidden")


@pytest.mark.parametrize(
    ("path", "body", "status", "field"),
    [
        ("deposits", {"id": "7", "coins": 5}, 400, "$.id"),
        ("deposits", {"coins": 5}, 400, "$.id"),
        ("deposits", {"id": "U", "coins": 0}, 400, "$.coins"),
        ("deposits", {"id": "U", "coins": -1}, 400, "$.coins"),
        ("deposits", {"id": "U", "coins": 1.5}, 400, "$.coins"),
        ("deposits", {"id": "U", "coins": limits.DEPOSIT_COINS_MAX + 1}, 400, "$.coins"),
        ("deposits", {"id": "U", "coins": 2**64}, 400, "$.coins"),
        ("deposits", {"id": "U", "coins": 5, "source": "theft"}, 400, "$.source"),
        ("deposits", {"id": "U", "coins": 5, "more": 1}, 400, "$.more"),
        ("deposits", [], 400, None),
        ("holds", {"id": "U", "coins": 5}, 400, "$.ttl_s"),
        ("holds", {"id": "U", "coins": 5, "ttl_s": 0}, 400, "$.ttl_s"),
        ("holds", {"id": "U", "coins": 5, "ttl_s": 1, "to": "a b"}, 400, "$.to"),
        ("reversals", {"id": "U", "gift": "7"}, 400, "$.gift"),
        ("reversals", {"id": "U", "gift": "U", "reason": "a\x00b"}, 400, "$.reason"),
        ("holds/7/post", {"id": "U"}, 404, None),
    ],
)
async def test_a_bad_body_is_refused_by_name(
    gateway: GatewayProcess, user: str, path: str, body: Any, status: int, field: str | None
) -> None:
    if isinstance(body, dict):
        body = {key: str(uuid.uuid4()) if value == "U" else value for key, value in body.items()}
    answer = await backend(gateway, f"{user}/{path}", body)
    problem = is_problem(answer, status, "bad_request" if status == 400 else "hold_not_found")
    assert problem.get("field") == field


async def test_an_account_cannot_be_called_anything(gateway: GatewayProcess) -> None:
    for name in ("a b", "x" * 129, "%00", "a%0Ab", "ünï"):
        answer = await backend(gateway, f"{name}/deposits", {"id": str(uuid.uuid4()), "coins": 1})
        is_problem(answer, 400, "bad_request")


async def test_a_wallet_never_overflows(gateway: GatewayProcess, user: str) -> None:
    await deposit(gateway, user, limits.DEPOSIT_COINS_MAX)
    [coins] = {item["coins"] for item in (await catalogue(gateway)).values() if item["coins"] == 1}
    assert await wallet(gateway, user) == (limits.DEPOSIT_COINS_MAX, 0)
    assert coins * limits.GIFT_COUNT_MAX < limits.COINS_MAX


async def test_a_hold_sets_coins_aside_until_it_is_posted(
    gateway: GatewayProcess, opened: str, user: str
) -> None:
    await deposit(gateway, user, 10)
    hold, host = str(uuid.uuid4()), host_of(opened)
    body = {"id": hold, "coins": 7, "ttl_s": 60, "to": host}
    placed = (await backend(gateway, f"{user}/holds", body)).json()
    assert (placed["coins"], placed["held"]) == (3, 7)
    assert placed["hold"]["status"] == "pending"
    assert (await backend(gateway, f"{user}/holds", body)).json()["status"] == "duplicate"
    assert (await outcome(gateway, opened, user, gift(count=4)))["code"] == "insufficient_funds"
    resolution = {"id": str(uuid.uuid4())}
    posted = await backend(gateway, f"{user}/holds/{hold}/post", resolution)
    assert (posted.status_code, posted.json()["hold"]["status"]) == (201, "posted")
    again = await backend(gateway, f"{user}/holds/{hold}/post", resolution)
    assert (again.status_code, again.json()["status"]) == (200, "duplicate")
    for way in ("post", "void"):
        twice = await backend(gateway, f"{user}/holds/{hold}/{way}", {"id": str(uuid.uuid4())})
        is_problem(twice, 409, "hold_posted")
    assert await wallet(gateway, user) == (3, 0)
    assert await earned(gateway, opened) == 7


async def test_a_hold_that_is_voided_or_runs_out_frees_its_coins(
    gateway: GatewayProcess, user: str
) -> None:
    await deposit(gateway, user, 10)
    voided, short = str(uuid.uuid4()), str(uuid.uuid4())
    await backend(gateway, f"{user}/holds", {"id": voided, "coins": 6, "ttl_s": 600})
    await backend(gateway, f"{user}/holds", {"id": short, "coins": 4, "ttl_s": 1})
    assert await wallet(gateway, user) == (0, 10)
    answer = await backend(gateway, f"{user}/holds/{voided}/void", {"id": str(uuid.uuid4())})
    assert answer.json()["hold"]["status"] == "voided"

    async def expired() -> bool:
        return await wallet(gateway, user) == (10, 0)

    await until(expired, "the end of the hold")
    held = await gateway.http.get(f"/v1/accounts/{user}/holds/{short}", headers={"X-User": user})
    assert held.json()["status"] == "expired"
    late = await backend(gateway, f"{user}/holds/{short}/post", {"id": str(uuid.uuid4())})
    is_problem(late, 409, "hold_expired")
    nobody = await backend(gateway, f"{user}/holds/{uuid.uuid4()}/post", {"id": str(uuid.uuid4())})
    is_problem(nobody, 404, "hold_not_found")
    poor = await backend(
        gateway, f"{user}/holds", {"id": str(uuid.uuid4()), "coins": 11, "ttl_s": 1}
    )
    is_problem(poor, 409, "insufficient_funds")
    self_ = {"id": str(uuid.uuid4()), "coins": 1, "ttl_s": 1, "to": user}
    is_problem(await backend(gateway, f"{user}/holds", self_), 409, "self_transfer")


async def test_a_reversal_gives_a_gift_back_once(
    gateway: GatewayProcess, opened: str, user: str
) -> None:
    await deposit(gateway, user, 10)
    viewer = await gateway.watch(opened)
    sent = gift(count=10)
    assert (await outcome(gateway, opened, user, sent))["status"] == "paid"
    assert await earned(gateway, opened) == 5
    body = {"id": str(uuid.uuid4()), "gift": sent["id"], "reason": "fraud"}
    answer = await backend(gateway, f"{user}/reversals", body)
    assert (answer.status_code, answer.json()["coins"]) == (201, 10)
    assert (await backend(gateway, f"{user}/reversals", body)).json()["status"] == "duplicate"
    twice = {**body, "id": str(uuid.uuid4())}
    is_problem(await backend(gateway, f"{user}/reversals", twice), 409, "gift_already_reversed")
    unknown = {**twice, "gift": str(uuid.uuid4()), "id": str(uuid.uuid4())}
    is_problem(await backend(gateway, f"{user}/reversals", unknown), 404, "gift_not_found")
    assert (await wallet(gateway, user), await earned(gateway, opened)) == ((10, 0), 0)
    [fact] = await viewer.events(1, "gift.reversed")
    assert fact["data"]["request"] == sent["id"]
    await viewer.leave()


# --- what gifts add up to ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def projector(engines: Settings) -> Iterator[Process]:
    process = Process("tests.contract.projecting", engines)
    process.start()
    yield process
    process.stop()


async def leaders(gateway: GatewayProcess, room: str, query: str = "") -> list[tuple[Any, ...]]:
    answer = await gateway.http.get(f"/v1/rooms/{room}/leaderboard{query}")
    assert answer.status_code == 200, answer.text
    assert (answer.json()["next"] is None) == ("limit" not in query)
    return [(item["rank"], item["actor"], item["coins"]) for item in answer.json()["items"]]


async def test_leaderboards_and_earnings_follow_the_gifts(
    gateway: GatewayProcess, projector: Process, opened: str, user: str
) -> None:
    first, second = f"{user}-a", f"{user}-b"
    for who, count in ((first, 4), (second, 6)):
        await deposit(gateway, who, 10)
        assert (await outcome(gateway, opened, who, gift(count=count)))["status"] == "paid"
    expected = [(1, second, 6), (2, first, 4)]

    async def projected() -> bool:
        return await leaders(gateway, opened) == expected

    await until(projected, "the leaderboard")
    for period in ("session", "day", "all"):
        assert await leaders(gateway, opened, f"?period={period}") == expected
    assert await leaders(gateway, opened, "?limit=1") == expected[:1]
    host = host_of(opened)
    url = f"/v1/hosts/{host}/earnings?days=1"
    told = (await gateway.http.get(url, headers={"X-User": host})).json()
    assert (told["host"], told["coins"]) == (host, 5)
    [today] = told["days"]
    assert (today["coins"], today["gifts"]) == (5, 10)
    close = await gateway.http.delete(f"/v1/rooms/{opened}", headers={"X-User": host})
    assert close.status_code == 200
    await gateway.open_room(opened, host=host)

    async def begun_anew() -> bool:
        return await leaders(gateway, opened, "?period=session") == []

    await until(begun_anew, "the new session's leaderboard")
    assert await leaders(gateway, opened) == expected


async def test_a_room_of_the_past_is_found_in_the_projection(
    engines: Settings, gateway: GatewayProcess, projector: Process, opened: str
) -> None:
    """What a gateway that has let a closed room go answers from."""
    likes = {"id": str(uuid.uuid4()), "type": "like.tap", "data": {"count": 3}}
    assert (await send(gateway, opened, "ben", likes)).status_code == 202
    headers = {"X-User": host_of(opened)}
    assert (await gateway.http.delete(f"/v1/rooms/{opened}", headers=headers)).is_success
    engine = create_engine(engines)
    directory, clocks = RoomDirectory(), ClockFollower()
    hub = Hub(0.025, asyncio.get_running_loop())
    queries = RoomQueries(engine)
    archive = RoomArchive(queries, directory, hub, clocks, RecentComments(queries))

    async def found() -> RoomState | None:
        return await archive.find(opened)

    state = await until(found, "the closed room")
    assert state is not None
    assert (state.status, state.host, state.title, state.likes_counted) == (
        "closed",
        host_of(opened),
        "A room",
        3,
    )
    assert await archive.find("never-was") is None
    await engine.dispose()


# --- the catalogue -------------------------------------------------------------------------------


async def put_gift(
    gateway: GatewayProcess, name: str, body: Any, role: str = "admin"
) -> httpx.Response:
    headers = {"X-User": "ops", "X-Role": role}
    return await gateway.http.put(f"/v1/gifts/{name}", json=body, headers=headers)


async def test_a_price_changes_while_gifts_are_sold_and_clients_have_no_say(
    gateway: GatewayProcess, other: GatewayProcess, opened: str, user: str
) -> None:
    name = f"gift-{uuid.uuid4().hex[:8]}"
    await deposit(gateway, user, 100)
    is_problem(await send(gateway, opened, user, gift(name)), 422, "unknown_gift")
    body = {"name": "A gift", "coins": 10, "tier": 2, "combo": False, "host_share_percent": 100}
    answer = await put_gift(gateway, name, body)
    assert (answer.status_code, answer.json()["version"]) == (201, 1)
    assert (await outcome(gateway, opened, user, gift(name)))["status"] == "paid"
    assert await wallet(gateway, user) == (90, 0)
    answer = await put_gift(gateway, name, {**body, "coins": 20})
    assert (answer.status_code, answer.json()["version"]) == (200, 2)
    assert (await put_gift(gateway, name, {**body, "coins": 20})).json()["version"] == 2
    assert (await outcome(gateway, opened, user, gift(name)))["status"] == "paid"
    assert (await wallet(gateway, user), await earned(gateway, opened)) == ((70, 0), 30)

    async def followed() -> bool:
        return (await catalogue(other)).get(name, {}).get("version") == 2

    await until(followed, "the other gateway's catalogue")
    assert (await put_gift(gateway, name, {**body, "offered": False})).status_code == 200
    is_problem(await send(gateway, opened, user, gift(name)), 422, "unknown_gift")
    assert name not in await catalogue(gateway)


async def test_a_change_at_run_time_stands_when_a_gateway_starts_again(
    engines: Settings, gateway: GatewayProcess
) -> None:
    before = (await catalogue(gateway))["spark"]
    changed = {"name": "Spark", "coins": before["coins"] + 1}
    version = (await put_gift(gateway, "spark", changed)).json()["version"]
    async for fresh in ready(engines):
        # Its own offer went through the ledger before this one, in the same partition.
        assert (await put_gift(fresh, "lantern-2", {"name": "L", "coins": 1})).is_success
        assert (await catalogue(fresh))["spark"]["version"] == version


@pytest.mark.parametrize(
    ("name", "body", "field"),
    [
        ("Rose", {"name": "R", "coins": 1}, "gift"),
        ("a%20b", {"name": "R", "coins": 1}, "gift"),
        ("x" * 65, {"name": "R", "coins": 1}, "gift"),
        ("new", {"name": "", "coins": 1}, "$.name"),
        ("new", {"name": "N\x00", "coins": 1}, "$.name"),
        ("new", {"name": "N", "coins": 0}, "$.coins"),
        ("new", {"name": "N", "coins": limits.GIFT_PRICE_COINS_MAX + 1}, "$.coins"),
        ("new", {"name": "N", "coins": 1, "tier": 4}, "$.tier"),
        ("new", {"name": "N", "coins": 1, "host_share_percent": 101}, "$.host_share_percent"),
        ("new", {"name": "N", "coins": 1, "gift": "other"}, "$.gift"),
    ],
)
async def test_a_gift_that_is_wrongly_described_is_not_sold(
    gateway: GatewayProcess, name: str, body: Any, field: str
) -> None:
    problem = is_problem(await put_gift(gateway, name, body), 400, "bad_request")
    assert problem["field"] == field
    assert "new" not in await catalogue(gateway)


# --- a gateway as it is run for real -------------------------------------------------------------


async def test_in_production_the_role_is_a_claim_of_the_token(
    engines: Settings, gateway: GatewayProcess, opened: str, user: str
) -> None:
    async for production in ready(engines, ENGAGEMENT_AUTH="jwt", ENGAGEMENT_JWT_SECRET=SECRET):
        url = f"/v1/accounts/{user}/deposits"
        body = {"id": str(uuid.uuid4()), "coins": 3}
        headers = {"X-User": "platform", "X-Role": "service"}
        assert (await production.http.post(url, json=body, headers=headers)).status_code == 401
        sneaky = {**bearer(user), "X-Role": "service"}
        answer = await production.http.post(url, json=body, headers=sneaky)
        is_problem(answer, 403, "forbidden")
        answer = await production.http.post(url, json=body, headers=bearer("platform", "service"))
        assert answer.status_code == 201
        answer = await production.http.post(
            f"/v1/rooms/{opened}/events", json=gift(), headers={**bearer(user), **WAIT}
        )
        assert answer.json()["results"][0]["status"] == "paid"
        answer = await production.http.get(f"/v1/accounts/{user}", headers=bearer("somebody"))
        is_problem(answer, 403, "forbidden")
        assert jwt.get_unverified_header(bearer(user)["Authorization"][7:])["alg"] == "HS256"
