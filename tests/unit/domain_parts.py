"""Requests and rooms for tests of the domain: given facts, when requests, then facts."""

import uuid
from collections.abc import Iterable, Sequence
from typing import Any

from msgspec import UNSET, UnsetType

from engagement.domain import requests
from engagement.domain.envelope import Accepted, ClockEntry, Envelope
from engagement.domain.events import Decided
from engagement.domain.moderation import WordList
from engagement.domain.requests import Request, Role
from engagement.domain.room_partition import RoomPartition
from engagement.domain.rooms import RoomState

ROOM = "room"
HOST = "host"
T0_US = 1_700_000_000_000_000
"""A whole second, so that windows begin with it."""
S = 1_000_000
MS = 1_000

WORDS = WordList(deny=["denied"], hold=["held"])


def request_id(number: int = -1) -> str:
    """A request id: that of a number, or a new one."""
    return str(uuid.uuid4() if number < 0 else uuid.UUID(int=number))


def opening(host: str = HOST, *, recorded: bool = False, number: int = -1) -> Request:
    data = requests.RoomOpening("a title", host, recorded)
    return requests.RoomOpen(id=request_id(number), data=data)


def closing(number: int = -1) -> Request:
    return requests.RoomClose(id=request_id(number))


def comment(text: str = "hello", *, number: int = -1) -> Request:
    return requests.CommentPost(id=request_id(number), data=requests.CommentText(text))


def taps(count: int = 1, *, number: int = -1) -> Request:
    return requests.LikeTap(id=request_id(number), data=requests.LikeTaps(count))


def join(number: int = -1) -> Request:
    return requests.RoomJoin(id=request_id(number))


def leave(number: int = -1) -> Request:
    return requests.RoomLeave(id=request_id(number))


def removal(target: str, number: int = -1) -> Request:
    return requests.CommentRemove(id=request_id(number), data=requests.CommentTarget(target))


def release(target: str, number: int = -1) -> Request:
    return requests.CommentRelease(id=request_id(number), data=requests.CommentTarget(target))


def mute(target: str, seconds: int = 60, number: int = -1) -> Request:
    return requests.ViewerMute(id=request_id(number), data=requests.Mute(target, seconds))


def ban(target: str, number: int = -1) -> Request:
    return requests.ViewerBan(id=request_id(number), data=requests.ViewerTarget(target))


def unban(target: str, number: int = -1) -> Request:
    return requests.ViewerUnban(id=request_id(number), data=requests.ViewerTarget(target))


def renewal(number: int = -1) -> Request:
    return requests.LeaseRenew(id=request_id(number), data=requests.GatewayLease("gw"))


def asked(
    request: Request,
    actor: str = HOST,
    *,
    at_us: int = T0_US,
    room: str = ROOM,
    role: Role = "viewer",
    session: str | UnsetType = UNSET,
    anchor: int | UnsetType = UNSET,
) -> Accepted:
    """A request as a gateway accepted it."""
    return Accepted(room, actor, role, at_us, request, session, anchor)


class Rooms:
    """A partition under test, which is told what happens in it and what time it is."""

    def __init__(self, moderator: WordList = WORDS) -> None:
        self.partition = RoomPartition(moderator)
        self.now_us = T0_US
        self.log: list[Decided] = []

    def given_open(self, room: str = ROOM, *, recorded: bool = False) -> "Rooms":
        """An open room."""
        self.when(opening(recorded=recorded), HOST, room=room)
        return self

    def when(self, request: Request, actor: str = HOST, **how: Any) -> list[Decided]:
        """What follows from one request, accepted now unless `at_us` says otherwise."""
        how.setdefault("at_us", self.now_us)
        return self.take([asked(request, actor, **how)])

    def take(
        self, those: Sequence[Accepted], clock: list[ClockEntry] | None = None, gateway: str = "gw"
    ) -> list[Decided]:
        """What follows from one envelope."""
        facts = self.partition.take(Envelope(gateway, list(those), clock or []))
        self.log += facts
        return facts

    def after(self, time_us: int) -> list[Decided]:
        """What the passing of so much time brings, ticked every 250 ms with a gateway alive."""
        facts: list[Decided] = []
        until_us = self.now_us + time_us
        while self.now_us < until_us:
            self.now_us = min(until_us, self.now_us + 250 * MS)
            facts += self.partition.tick(self.now_us)
        self.log += facts
        return facts

    def renewed(self, gateway: str = "gw") -> None:
        """A gateway renews its leases."""
        self.take([asked(renewal(), gateway, room="", role="service")], gateway=gateway)

    def state(self, room: str = ROOM) -> RoomState:
        return self.partition.rooms[room]


def kinds(facts: Iterable[Decided]) -> list[str]:
    return [fact.kind for fact in facts]


def refusals(facts: Iterable[Decided]) -> list[str]:
    """The codes of refusals among these facts."""
    return [fact.data.code for fact in facts if fact.kind == "request.refused"]
