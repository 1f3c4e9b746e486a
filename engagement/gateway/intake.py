"""Taking requests in: who may ask what, how often, and whether it was asked before.

HTTP and sockets share this. What a gateway can know (the form, the sender's rights, the room's
state, a repeat) is answered here; the room processor decides again, with authority.

A repeat of an acknowledged request is a `duplicate`. A repeat of one that is still on its way
waits for the same acknowledgement, so `duplicate` never names something that may yet be lost; and
what the broker did not acknowledge is forgotten, so that it can be sent again. Another gateway
does not know our ids: it answers `accepted`, and the processor drops the repeat. Ids of gifts
never expire: what the ledger has stored of them is looked up before (`gifts_intake`).
"""

import asyncio
import time
from collections import Counter
from functools import lru_cache
from typing import Any, Final, Literal

from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import replace

from engagement.domain import limits, rooms
from engagement.domain.requests import MODERATION_TYPES, GiftSend, Report, Request, Role
from engagement.domain.rooms import RoomState
from engagement.domain.seen_ids import SeenIds
from engagement.errors import (
    BadRequestError,
    ConflictError,
    EngagementError,
    ForbiddenError,
    IdReusedError,
    RateLimitedError,
    UnavailableError,
)
from engagement.gateway import metrics
from engagement.gateway.envelopes import EnvelopeWriter, Group
from engagement.gateway.flushes import Flush
from engagement.gateway.gifts_intake import Acceptance, GiftsIntake, Refused, Stored
from engagement.gateway.rates import Buckets
from engagement.gateway.requests_json import Decoded, Malformed, Parsed
from engagement.log.topics import partition_of
from engagement.settings import Settings
from engagement.tokens import Principal

_WHEN_CLOSED: Final = frozenset({"room.leave", "release.report"})
"""What a closed room still takes."""
_OWN_RIGHTS: Final = frozenset({"comment.post", "like.tap", "room.join", "room.leave", "gift.send"})
"""What a platform's backend asks with the rights of the user it asks for, not with its own: a ban
holds whoever carries the message."""

_DETAILS: Final = {
    "room_closed": "the room is closed",
    "banned": "the host or a moderator has banned this user from the room",
    "muted": "the host or a moderator has muted this user",
    "forbidden": "this user may not do this here",
    "foreign_actor": "only a service may ask for somebody else",
    "id_reused": "this id was used before for another request",
    "rate_limited": "too many requests",
    "unknown_gift": "the catalogue does not offer this gift",
    "unknown_recipient": "gifts go to the room's host",
    "self_gift": "nobody pays for a gift to themselves",
    "catalogue_unavailable": "the price of this gift is not known yet; send the same request again",
    "database_unavailable": (
        "it cannot be known right now whether this was paid before; send the same request again"
    ),
}


class UnpayableError(EngagementError):
    """A gift of good form that nobody can pay: no such gift, no such recipient."""

    status = 422
    code = "unpayable"
    title = "Unpayable gift"


_ERRORS: Final[dict[str, type[EngagementError]]] = {
    "room_closed": ConflictError,
    "banned": ForbiddenError,
    "muted": ForbiddenError,
    "forbidden": ForbiddenError,
    "foreign_actor": ForbiddenError,
    "id_reused": IdReusedError,
    "rate_limited": RateLimitedError,
    "unknown_gift": UnpayableError,
    "unknown_recipient": UnpayableError,
    "self_gift": UnpayableError,
    "catalogue_unavailable": UnavailableError,
    "database_unavailable": UnavailableError,
}
_RETRY_AFTER_S: Final = 1.0
"""What is unavailable for a moment."""


class Result(Struct, frozen=True, omit_defaults=True):
    """What became of one request, as told to its sender."""

    id: str | None
    status: Literal["accepted", "duplicate", "rejected", "paid", "refused"]
    """`paid` and `refused` are outcomes of gifts, for senders who wait for them."""
    code: str | UnsetType = UNSET
    detail: str | UnsetType = UNSET
    field: str | UnsetType = UNSET
    outcome: Literal["paid", "refused"] | UnsetType = UNSET
    """What became of the gift that a duplicate repeats, when it is known."""


class Submission:
    """Results, and the acknowledgements on which they depend."""

    __slots__ = ("flushes", "results", "retry_after_s")

    def __init__(self) -> None:
        self.results: list[Result] = []
        self.flushes: dict[Flush[Any], None] = {}
        self.retry_after_s: float | None = None

    async def acknowledged(self, timeout_s: float = limits.ACK_TIMEOUT_S) -> None:
        """Wait for the broker. Raises UnavailableError when it does not answer in time or
        refuses: nothing is promised then, and the same ids may be sent again."""
        waiting = {flush.done for flush in self.flushes if not flush.acked}
        if waiting:
            _, late = await asyncio.wait(waiting, timeout=timeout_s)
            if late or not all(flush.acked for flush in self.flushes):
                raise UnavailableError(
                    "the log does not acknowledge; send the same requests again",
                    code="log_unavailable",
                    retry_after_s=2,
                )


@lru_cache(maxsize=65_536)
def partition_of_room(room: str, partitions: int) -> int:
    """`partition_of`, remembered: its hash is pure Python and costs more than a whole request."""
    return partition_of(room, partitions)


class _Turn:
    """One call of `submit`: what is the same for all its items."""

    __slots__ = (
        "at_us", "flush", "group", "outcomes", "principal", "room", "session", "stored",
        "submission", "traceparent", "wanted",
    )  # fmt: skip

    def __init__(
        self,
        principal: Principal,
        room: RoomState,
        wanted: int,
        session: str | UnsetType,
        traceparent: str | UnsetType,
        stored: Stored,
    ) -> None:
        self.principal = principal
        self.room = room
        self.wanted = wanted
        self.session = session
        self.traceparent = traceparent
        self.stored = stored
        self.at_us = time.time_ns() // 1000
        self.submission = Submission()
        self.outcomes: Counter[tuple[str, str]] = Counter()
        self.flush: Flush[Group] | None = None
        self.group: Group | None = None

    def role_for(self, actor: str, tag: str) -> Role:
        """The role with which a request is judged."""
        if actor != self.principal.id and tag in _OWN_RIGHTS:
            return "viewer"
        return self.principal.role

    def put(self, flush: Flush[Group], role: Role, actor: str, request: Request) -> None:
        """Add a request to the flush, after all others of this turn."""
        if self.group is None or self.group.role != role:
            self.group = Group(self.room.room, role, self.at_us, [], self.session, self.traceparent)
            flush.parts.append(self.group)
        self.group.asks.append((actor, request))
        flush.count += 1


class Intake:
    """Everything between a well-formed request and the log."""

    def __init__(self, settings: Settings, envelopes: EnvelopeWriter, gifts: GiftsIntake) -> None:
        self._envelopes = envelopes
        self._gifts = gifts
        self._partitions = settings.partitions
        self._seen: SeenIds[tuple[int, Flush[Any]]] = SeenIds(limits.GATEWAY_IDS_MAX)
        self._users = Buckets(settings.user_requests_per_s)
        self._rooms = Buckets(settings.room_requests_per_s)
        self._addresses = Buckets(settings.address_requests_per_s)

    def submit(
        self,
        principal: Principal,
        room: RoomState,
        parsed: Parsed,
        *,
        address: str,
        session: str | UnsetType = UNSET,
        traceparent: str | UnsetType = UNSET,
        stored: Stored = None,
    ) -> Submission:
        """Judge every item and put the good ones on their way.

        `stored` is what the ledger has stored of the gifts among them (`GiftsIntake.stored`).
        Raises UnavailableError when the log is so far behind that nothing more is taken.
        """
        if not self._envelopes.has_room():
            raise UnavailableError("the log is behind", code="log_unavailable", retry_after_s=1)
        wanted = len(parsed.items)
        turn = _Turn(principal, room, wanted, session, traceparent, stored)
        submission = turn.submission
        granted = self._grant(turn, address)
        for position, item in enumerate(parsed.items):
            if isinstance(item, Malformed):
                tag = "malformed"
                result = _malformed(item)
            else:
                tag = str(item.__struct_config__.tag)
                if position < granted:
                    result = self._judge(turn, item, tag)
                else:
                    result = _rejected(item.id, "rate_limited")
            submission.results.append(result)
            turn.outcomes[tag, result.code or result.status] += 1
        for (tag, outcome), count in turn.outcomes.items():
            metrics.REQUESTS.labels(tag, outcome).inc(count)
        return submission

    def _judge(self, turn: _Turn, item: Decoded, tag: str) -> Result:
        actor = turn.principal.id if item.actor is UNSET else item.actor
        if actor != turn.principal.id and turn.principal.role != "service":
            return _rejected(item.id, "foreign_actor")
        if isinstance(item, Report):
            metrics.RELEASE_ERROR_MS.labels(item.data.basis).observe(item.data.error_ms)
            return Result(item.id, "accepted")
        request_id = item.id.lower()
        normal = item if request_id == item.id else replace(item, id=request_id)
        if isinstance(normal, GiftSend):
            decided = self._gifts.decided(turn.stored, turn.room, actor, normal)
            if isinstance(decided, Refused):
                return _rejected(item.id, decided.code)
            if decided is not None:
                code = decided.code or UNSET
                return Result(item.id, "duplicate", outcome=decided.status, code=code)
        key = actor + "/" + request_id
        fingerprint = hash((turn.room.room, tag, item.data))
        known = self._seen.get(key)
        if known is not None:
            if known[0] != fingerprint:
                return _rejected(item.id, "id_reused")
            turn.submission.flushes[known[1]] = None
            return Result(item.id, "duplicate")
        role = turn.role_for(actor, tag)
        refusal = _refusal(turn.room, actor, role, tag, turn.at_us)
        if isinstance(normal, GiftSend):
            return self._take_gift(turn, item.id, actor, role, normal, refusal, (key, fingerprint))
        if refusal is not None:
            return _rejected(item.id, refusal)
        flush = self._flush_of(turn)
        self._remember(key, fingerprint, flush)
        turn.put(flush, role, actor, normal)
        return Result(item.id, "accepted")

    def _take_gift(
        self,
        turn: _Turn,
        told_id: str,
        actor: str,
        role: Role,
        gift: GiftSend,
        refusal: str | None,
        seen: tuple[str, int],
    ) -> Result:
        refused = (
            self._gifts.refusal(turn.room, actor, gift, limited=turn.principal.role != "service")
            if refusal is None
            else Refused(refusal)
        )
        if refused is not None and refused.code == "rate_limited":
            turn.submission.retry_after_s = self._gifts.wait_s(actor)
        elif refused is not None and turn.stored is None:
            refused = Refused("database_unavailable")
        if refused is not None:
            return _rejected(told_id, refused.code, field=refused.field)
        accepted = Acceptance(turn.room, role, turn.at_us, turn.session, turn.traceparent)
        flush = self._gifts.put(accepted, actor, gift)
        turn.submission.flushes[flush] = None
        self._remember(*seen, flush)
        return Result(told_id, "accepted")

    def _remember(self, key: str, fingerprint: int, flush: Flush[Any]) -> None:
        self._seen.add(key, (fingerprint, flush))
        flush.keys.append(key)

    def _flush_of(self, turn: _Turn) -> Flush[Group]:
        if turn.flush is None:
            partition = partition_of_room(turn.room.room, self._partitions)
            turn.flush = self._envelopes.reserve(partition, turn.wanted)
            turn.submission.flushes[turn.flush] = None
        return turn.flush

    def forget(self, keys: list[str]) -> None:
        """The broker may not have these: they may be sent again."""
        for key in keys:
            self._seen.discard(key)

    def _grant(self, turn: _Turn, address: str) -> int:
        """How many items the buckets let through: those of the room and the address for
        everybody, the user's own for all but a service."""
        now_s, room, granted = time.monotonic(), turn.room.room, turn.wanted
        asked: list[tuple[Buckets, str]] = [(self._addresses, address), (self._rooms, room)]
        if turn.principal.role != "service":
            asked.append((self._users, turn.principal.id + "/" + room))
        for buckets, key in reversed(asked):
            taken = buckets.take(key, granted, now_s)
            if taken < granted:
                turn.submission.retry_after_s = buckets.wait_s(key, now_s)
                granted = taken
        return granted


def error_of(result: Result, retry_after_s: float | None) -> EngagementError:
    """The problem that a rejected single request is answered with."""
    code = result.code or "bad_request"
    kind = _ERRORS.get(code, BadRequestError)
    if issubclass(kind, UnavailableError):
        retry_after_s = _RETRY_AFTER_S
    elif code != "rate_limited":
        retry_after_s = None
    return kind(
        result.detail or code,
        code=code,
        field=result.field or None,
        retry_after_s=retry_after_s,
    )


def _malformed(item: Malformed) -> Result:
    field = item.field or UNSET
    return Result(item.id, "rejected", code=item.code, detail=item.detail, field=field)


def _rejected(told_id: str | None, code: str, *, field: str | UnsetType = UNSET) -> Result:
    return Result(told_id, "rejected", code=code, detail=_DETAILS[code], field=field)


def _refusal(room: RoomState, actor: str, role: Role, tag: str, at_us: int) -> str | None:
    """Why the room, as far as this gateway knows it, refuses; None when it does not."""
    if room.status == "closed" and tag not in _WHEN_CLOSED:
        return "room_closed"
    if actor in room.banned and not rooms.may_moderate(room, actor, role):
        return "banned"
    if tag == "comment.post" and rooms.is_muted(room, actor, at_us):
        return "muted"
    if tag in MODERATION_TYPES and not rooms.may_moderate(room, actor, role):
        return "forbidden"
    return None
