"""A gateway under a test's control, in the test's own event loop: api.md frames, no engines.

It serves the real pages and keeps a room's facts in a list; a cursor is a place in that list.
What a test wants to go wrong, it sets: resume refused, sockets dropped, requests refused.
"""

import asyncio
import contextlib
import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import msgspec
import uvicorn
from fastapi import FastAPI, Request
from starlette.responses import JSONResponse
from starlette.websockets import WebSocket, WebSocketDisconnect

from engagement.domain import events
from engagement.domain.events import Decided, rfc3339
from engagement.domain.media_time import Stamp
from engagement.gateway.pages import mount_pages
from engagement.settings import Settings
from tests.e2e.fake_money import FakeBattle, FakeMoney

EPOCH_BEGAN_S_AGO = 60


@dataclass(eq=False)
class Visitor:
    """One socket, and what came over it."""

    socket: WebSocket
    cursor: str
    token: str = ""
    received: list[dict[str, Any]] = field(default_factory=list)


class FakeGateway:
    """One room, `demo`, that is live since a minute."""

    def __init__(self, static: Path, port: int, *, auth: Literal["dev", "jwt"] = "dev") -> None:
        self.port = port
        self.room = {"room": "demo", "title": "Fake room", "host": "ana", "status": "open"}
        self.online, self.likes = 7, 100
        self.facts: list[dict[str, Any]] = []
        self.visitors: list[Visitor] = []
        self.joins: list[Visitor] = []
        self.requests: list[dict[str, Any]] = []
        self.is_resuming = True
        self.is_acknowledging = True
        self.is_known = True
        self.refusals: dict[str, str] = {}
        self.window = 0
        self.money = FakeMoney()
        self.battle: FakeBattle | None = None
        self.battle_calls: list[tuple[str, str, Any]] = []
        """Verb, battle and body of each call about a battle."""
        began_ms = time.time() * 1000 - EPOCH_BEGAN_S_AGO * 1000
        self.anchors = [_anchor(1, began_ms, 0.0)]
        self._app = FastAPI()
        self._app.state.gateway = SimpleNamespace(
            settings=Settings(auth=auth, media_url=f"http://127.0.0.1:{port}")
        )
        self._routes()
        mount_pages(self._app, static)
        config = uvicorn.Config(self._app, port=port, log_level="warning", ws="websockets-sansio")
        self._server = uvicorn.Server(config)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator["FakeGateway"]:
        self._server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign]
        task = asyncio.create_task(self._server.serve())
        while not self._server.started:  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.01)
        try:
            yield self
        finally:
            self._server.should_exit = self._server.force_exit = True
            await task

    # --- what a test does ----------------------------------------------------------------------

    def media_ms(self, epoch: int | None = None) -> float:
        """Media time of the newest frame, now."""
        anchor = self.anchors[-1]
        return float(anchor["pts_ms"]) + time.time() * 1000 - float(anchor["wall_ms"])

    def fact(self, kind: str, data: Any, **fields: Any) -> dict[str, Any]:
        """A fact stamped with this moment (or with `pts_ms`, `epoch`)."""
        stamp = Stamp(
            fields.pop("epoch", self.anchors[-1]["epoch"]),
            round(fields.pop("pts_ms", self.media_ms())),
            2.0,
            "a",
        )
        decided = Decided(
            kind=kind,
            id=fields.pop("id", str(uuid.uuid4())),
            room="demo",
            at_us=time.time_ns() // 1000,
            stamp=stamp,
            data=data,
            actor=fields.pop("actor", "ben"),
        )
        assert not fields, fields
        made: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(events.fact(decided)))
        return made

    async def publish(self, *facts: dict[str, Any]) -> None:
        """Put facts on the log and send them to everyone."""
        self.facts.extend(facts)
        await self.broadcast({"t": "events", "cursor": self.cursor, "events": list(facts)})

    async def say(self, text: str, **fields: Any) -> str:
        """Publish a comment; its id."""
        fact = self.fact("comment.posted", events.CommentPosted(text), **fields)
        await self.publish(fact)
        return str(fact["id"])

    async def like(self, count: int) -> str:
        """Publish a window of likes; its id."""
        self.likes += count
        self.window += 1
        data = events.LikesCounted(self.window, 250, count, self.likes, [])
        fact = self.fact("likes.counted", data)
        await self.publish(fact)
        return str(fact["id"])

    async def count_viewers(self, online: int) -> str:
        """Publish a window of joins and leaves; its id."""
        self.online = online
        self.window += 1
        data = events.ViewersCounted(self.window, 250, online, 1, 0, [], ["zoe"])
        fact = self.fact("viewers.counted", data)
        await self.publish(fact)
        return str(fact["id"])

    async def gift(self, actor: str, name: str, count: int = 1, **fields: Any) -> str:
        """Publish a gift of somebody; its id."""
        fact = self.fact("gift.sent", self.money.gift(actor, name, count), actor=actor, **fields)
        await self.publish(fact)
        return str(fact["id"])

    async def tell(self, kind: str, data: Any, **fields: Any) -> str:
        """Publish any other fact; its id."""
        fact = self.fact(kind, data, **fields)
        await self.publish(fact)
        return str(fact["id"])

    async def end_media(self) -> None:
        """The host's stream ends: media time stands still at its last frame."""
        now_ms = time.time() * 1000
        anchor = _anchor(int(self.anchors[-1]["epoch"]), now_ms, self.media_ms()) | {"ended": True}
        self.anchors.append(anchor)
        await self.broadcast({"t": "clock", "anchor": anchor})

    async def republish(self) -> None:
        """The host's stream starts anew: a new epoch at media time 0."""
        anchor = _anchor(int(self.anchors[-1]["epoch"]) + 1, time.time() * 1000, 0.0)
        self.anchors.append(anchor)
        await self.broadcast({"t": "clock", "anchor": anchor})

    async def broadcast(self, frame: dict[str, Any]) -> None:
        for visitor in list(self.visitors):
            await visitor.socket.send_json(frame)

    async def drop(self, code: int) -> None:
        """Close all sockets with this code."""
        for visitor in list(self.visitors):
            self.visitors.remove(visitor)
            await visitor.socket.close(code)

    @property
    def cursor(self) -> str:
        return f"0-{len(self.facts)}"

    def view(self) -> dict[str, Any]:
        media = {"epoch": self.anchors[-1]["epoch"], "pts_ms": round(self.media_ms())}
        battle = None if self.battle is None else self.battle.view()
        counts = {"online": self.online, "likes": self.likes, "battle": battle}
        return {**self.room, **counts, "media": media, "cursor": self.cursor}

    # --- what it serves ------------------------------------------------------------------------

    def _routes(self) -> None:
        app = self._app

        @app.get("/v1/rooms/{room}")
        async def room(room: str) -> JSONResponse:
            if room != "demo" or not self.is_known:
                return JSONResponse({"code": "room_not_found", "detail": "no room"}, 404)
            return JSONResponse(self.view())

        @app.put("/v1/rooms/{room}")
        async def opened(room: str, request: Request) -> JSONResponse:
            self.room |= {"status": "open", "title": (await request.json())["title"]}
            self.is_known = True
            return JSONResponse(self.view(), 201)

        @app.delete("/v1/rooms/{room}")
        async def closed(room: str) -> JSONResponse:
            self.room["status"] = "closed"
            await self.publish(self.fact("room.closed", events.RoomClosed("s", "closed")))
            return JSONResponse(self.view())

        @app.get("/v1/rooms/{room}/comments")
        async def comments(room: str, limit: int = 100) -> JSONResponse:
            posted = [fact for fact in self.facts if fact["type"] == "comment.posted"]
            return JSONResponse({"items": posted[::-1][:limit], "next": None})

        @app.get("/v1/rooms/{room}/timeline")
        async def timeline(room: str, limit: int = 100, after: int = 0) -> JSONResponse:
            if not self.is_known:
                return JSONResponse({"code": "room_not_found", "detail": "no room"}, 404)
            ordered = sorted(self.facts, key=lambda fact: (fact["mediaepoch"], fact["mediapts"]))
            rest = ordered[after:]
            following = str(after + limit) if len(rest) > limit else None
            return JSONResponse({"items": rest[:limit], "next": following})

        self._money_routes()

        @app.websocket("/v1/rooms/{room}/live")
        async def live(socket: WebSocket, room: str, cursor: str = "") -> None:
            await socket.accept("engagement.v1")
            visitor = Visitor(socket, cursor)
            self.joins.append(visitor)
            with contextlib.suppress(WebSocketDisconnect, RuntimeError):
                if room == "demo" and self.is_known:
                    await self._serve(visitor)
                else:
                    await socket.close(3503)
            if visitor in self.visitors:
                self.visitors.remove(visitor)

    def _money_routes(self) -> None:
        app = self._app

        @app.get("/v1/gifts")
        async def gifts() -> JSONResponse:
            return JSONResponse({"items": self.money.catalogue, "next": None})

        @app.get("/v1/accounts/{account}")
        async def wallet(account: str, request: Request) -> JSONResponse:
            assert request.headers["x-user"] == account
            view = {"account": account, "coins": self.money.coins(account), "held": 0}
            return JSONResponse(view)

        @app.get("/v1/hosts/{host}/earnings")
        async def earnings(host: str) -> JSONResponse:
            return JSONResponse({"host": host, "coins": sum(self.money.sent.values()) // 2})

        @app.get("/v1/rooms/{room}/leaderboard")
        async def leaderboard(room: str, period: str) -> JSONResponse:
            items = self.money.leaderboard()[: 1 if period == "day" else None]
            return JSONResponse({"items": items, "next": None})

        @app.put("/v1/battles/{battle}")
        async def invite(battle: str, request: Request) -> JSONResponse:
            self.battle_calls.append(("invite", battle, await request.json()))
            return JSONResponse({}, 201)

        @app.post("/v1/battles/{battle}/{verb}")
        async def answer(battle: str, verb: str) -> JSONResponse:
            self.battle_calls.append((verb, battle, None))
            return JSONResponse({})

    async def _serve(self, visitor: Visitor) -> None:
        socket = visitor.socket
        visitor.token = (await socket.receive_json())["token"]
        is_recovered = bool(visitor.cursor) and self.is_resuming
        hello: dict[str, Any] = {
            "t": "hello",
            "room": "demo",
            "session": "fake/1",
            "cursor": visitor.cursor if is_recovered else self.cursor,
            "recovered": is_recovered,
            "clock": self.anchors,
            "server_ms": time.time() * 1000,
            "limits": {"in_flight": 4, "backoff": {"base_ms": 100, "max_ms": 400, "factor": 2}},
        }
        posted = [fact for fact in self.facts if fact["type"] == "comment.posted"]
        if not is_recovered:
            hello["snapshot"] = {**self.view(), "comments": posted[-50:]}
            hello["snapshot"]["top_senders"] = self.money.top_senders()
        await socket.send_json(hello)
        if is_recovered:
            missed = self.facts[int(visitor.cursor.partition("-")[2]) :]
            await socket.send_json({"t": "events", "cursor": self.cursor, "events": missed})
        self.visitors.append(visitor)
        while True:
            frame = await socket.receive_json()
            visitor.received.append(frame)
            await self._take(visitor, frame)

    async def _take(self, visitor: Visitor, frame: dict[str, Any]) -> None:
        if frame["t"] == "ping":
            pong = {"t": "pong", "id": frame["id"], "server_ms": time.time() * 1000}
            await visitor.socket.send_json(pong)
        if frame["t"] != "send":
            return
        self.requests.extend(frame["events"])
        if not self.is_acknowledging:
            return
        results = [self._result(request) for request in frame["events"]]
        await visitor.socket.send_json({"t": "ack", "results": results})
        actor = visitor.token.split(":")[1]
        for request, result in zip(frame["events"], results, strict=True):
            if request["type"] == "gift.send" and self.money.is_deciding:
                await self._pay(visitor, request, actor)
            elif result["status"] == "accepted":
                await self._decide(request, actor)

    async def _pay(self, visitor: Visitor, request: dict[str, Any], actor: str) -> None:
        """The ledger's decision: its outcome to the sender, its fact to everyone."""
        if request["id"] in {fact["id"] for fact in self.facts}:
            return
        bought = self.money.buy(actor, request["data"])
        outcome = {"id": request["id"], "status": "paid"}
        if isinstance(bought, str):
            outcome |= {"status": "refused", "code": bought}
        else:
            await self.publish(self.fact("gift.sent", bought, id=request["id"], actor=actor))
        await visitor.socket.send_json({"t": "outcome", "results": [outcome]})

    def _result(self, request: dict[str, Any]) -> dict[str, Any]:
        known = {fact["id"] for fact in self.facts}
        code = self.refusals.get(request["type"])
        if code is not None:
            return {"id": request["id"], "status": "rejected", "code": code}
        status = "duplicate" if request["id"] in known else "accepted"
        return {"id": request["id"], "status": status}

    async def _decide(self, request: dict[str, Any], actor: str) -> None:
        kind, data, fact_id = request["type"], request["data"], request["id"]
        if kind == "comment.post":
            await self.say(data["text"], id=fact_id, actor=actor)
        elif kind == "like.tap":
            await self.like(data["count"])
        elif kind == "comment.remove":
            removed = events.CommentRemoved(data["target"], actor)
            await self.publish(self.fact("comment.removed", removed, id=fact_id, actor=actor))
        elif kind == "viewer.mute":
            until = rfc3339(time.time_ns() // 1000 + data["seconds"] * 1_000_000)
            muted = events.ViewerMuted(data["target"], actor, until)
            await self.publish(self.fact("viewer.muted", muted, id=fact_id, actor=actor))
        elif kind == "viewer.ban":
            banned = events.ViewerBanned(data["target"], actor)
            await self.publish(self.fact("viewer.banned", banned, id=fact_id, actor=actor))
        elif kind == "viewer.unban":
            unbanned = events.ViewerUnbanned(data["target"], actor)
            await self.publish(self.fact("viewer.unbanned", unbanned, id=fact_id, actor=actor))


def _anchor(epoch: int, wall_ms: float, pts_ms: float) -> dict[str, Any]:
    return {
        "id": str(uuid.uuid4()),
        "epoch": epoch,
        "rate": 90_000,
        "rtp": 0,
        "pts_ms": pts_ms,
        "wall_ms": wall_ms,
        "offset_ms": 0.0,
        "err_ms": 1.0,
        "at_us": round(wall_ms * 1000),
    }
