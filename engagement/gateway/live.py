"""`GET /v1/rooms/{room}/live`: the sockets of viewers, carrying out what `session` decides.

A raw ASGI endpoint: a handshake costs a third of what it does through a framework, and a flood
of handshakes is what there is to survive. Origin and admission come before any token is looked at.
"""

import asyncio
import random
import time
from functools import partial
from typing import Final
from urllib.parse import parse_qs

import structlog
from starlette.types import Receive, Scope, Send

from engagement.domain import limits, rooms
from engagement.domain.names import is_room_id
from engagement.errors import (
    CLOSE_CODES,
    EngagementError,
    ForbiddenError,
    NotFoundError,
    UnauthorizedError,
    UnavailableError,
)
from engagement.gateway import metrics
from engagement.gateway.auth import Authenticator
from engagement.gateway.awaited_gifts import ToldGift, ToldOutcomes
from engagement.gateway.clock_follower import ClockFollower
from engagement.gateway.frames import Event, events_frame
from engagement.gateway.gifts_intake import GiftsIntake, Stored, gifts_in
from engagement.gateway.hub import Channel, Hub
from engagement.gateway.intake import Intake, Submission, partition_of_room
from engagement.gateway.live_socket import GoneError, LiveSocket
from engagement.gateway.origin import Origins
from engagement.gateway.presence import Attendance, Presence
from engagement.gateway.problems import send_problem_to_handshake
from engagement.gateway.rates import Admission
from engagement.gateway.recent_comments import RecentComments
from engagement.gateway.room_archive import RoomArchive
from engagement.gateway.room_directory import RoomDirectory
from engagement.gateway.room_feed import Refusal
from engagement.gateway.room_view import hello_frame, room_view
from engagement.gateway.session import (
    Authenticate,
    Close,
    Effect,
    Reply,
    Session,
    Submit,
    error_message,
)
from engagement.gateway.ws_protocol import SCOPE_KEY, LiveProtocol
from engagement.settings import Settings
from engagement.tokens import Principal

log = structlog.get_logger()

SUBPROTOCOL: Final = "engagement.v1"
TOKEN_SUBPROTOCOL: Final = "bearer."  # noqa: S105 - a prefix, not a secret

_TOLD_OTHERWISE: Final = ("room.join", "room.leave", "gift.send")
"""Refusals that are no `error`: presence is ours to repeat, and gifts have their `outcome`."""


class Live:
    """All sockets of this gateway."""

    def __init__(
        self,
        settings: Settings,
        *,
        gateway: str,
        auth: Authenticator,
        origins: Origins,
        directory: RoomDirectory,
        clocks: ClockFollower,
        hub: Hub,
        intake: Intake,
        gifts: GiftsIntake,
        presence: Presence,
        recent: RecentComments,
        archive: RoomArchive,
    ) -> None:
        self._gateway = gateway
        self._partitions = settings.partitions
        self._sockets_max = settings.sockets_max
        self._auth = auth
        self._origins = origins
        self._directory = directory
        self._clocks = clocks
        self._hub = hub
        self._intake = intake
        self._gifts = gifts
        self._presence = presence
        self._recent = recent
        self._archive = archive
        self._admission = Admission(settings.joins_per_s, limits.HANDSHAKES_PENDING_MAX)
        self._by_session: dict[str, LiveSocket] = {}
        self._open = 0
        self._next_number = 1
        self.ready = False
        """Set when the tail has been read; until then handshakes are told to come back."""

    # --- what the log tells ---------------------------------------------------------------------

    def refused(self, refusal: Refusal) -> None:
        """Tell a sender what the room processor refused."""
        socket = self._by_session.get(refusal.session)
        if socket is not None and refusal.request_type not in _TOLD_OTHERWISE:
            detail = f"the room refused this {refusal.request_type}"
            socket.tell(
                {"t": "error", "code": refusal.code, "detail": detail, "id": refusal.request}
            )

    def banned(self, room: str, actor: str) -> None:
        """Close the sockets of a viewer that was banned."""
        for socket in self._sockets_of(room):
            if socket.principal is not None and socket.principal.id == actor:
                socket.close("banned")

    def held(self, room: str, fact: bytes) -> None:
        """Show a comment that waits for a moderator to those who may let it through."""
        state, channel = self._directory.known(room), self._hub.find(room)
        if state is None or channel is None:
            return
        event = Event(-1, "comment.held", "", fact, 0)
        for socket in self._sockets_of(room):
            who = socket.principal
            if who is not None and rooms.may_moderate(state, who.id, who.role):
                self._hub.send_apart(channel, socket, event)

    def opened(self, room: str) -> None:
        """A session of a room began: whoever waited in the closed room is present in it."""
        for socket in self._sockets_of(room):
            if socket.attendance is not None:
                self._presence.join(socket.attendance)

    def _sockets_of(self, room: str) -> list[LiveSocket]:
        channel = self._hub.find(room)
        viewers = () if channel is None else channel.viewers
        return [viewer for viewer in viewers if isinstance(viewer, LiveSocket)]

    # --- a handshake ----------------------------------------------------------------------------

    async def handle(self, scope: Scope, receive: Receive, send: Send, room: str) -> None:
        """The ASGI endpoint of one socket."""
        await receive()  # websocket.connect
        headers: dict[bytes, str] = {
            name: value.decode("latin-1") for name, value in scope["headers"]
        }
        try:
            await self._admit(headers)
        except EngagementError as error:
            metrics.JOINS.labels(error.code).inc()
            await send_problem_to_handshake(send, error)
            return
        offered = scope["subprotocols"]
        chosen = SUBPROTOCOL if SUBPROTOCOL in offered else None
        await send({"type": "websocket.accept", "subprotocol": chosen})
        protocol: LiveProtocol = scope[SCOPE_KEY]
        protocol.bound_buffers()
        named = _token_of(headers, offered) is not None or b"x-user" in headers
        client = scope.get("client") or ("", 0)
        socket = LiveSocket(protocol, Session(named=named, now_s=time.monotonic()), client[0])
        self._open += 1
        metrics.SOCKETS.set(self._open)
        try:
            await self._serve(socket, scope, receive, headers, room)
        except GoneError:
            pass
        except EngagementError as error:
            self._refuse(socket, error)
        finally:
            self._open -= 1
            metrics.SOCKETS.set(self._open)
            self._lose(socket)

    async def _admit(self, headers: dict[bytes, str]) -> None:
        """Raises what a handshake is refused with, before anything of it is believed."""
        if not self._origins.allows(headers.get(b"origin"), headers.get(b"host")):
            raise ForbiddenError("this origin is not allowed", code="origin_not_allowed")
        now_s = time.monotonic()
        wait_s = self._admission.wait_s(now_s)
        if wait_s is None or self._open >= self._sockets_max or not self.ready:
            # Full jitter: those who are sent away must not come back together.
            backlog_s = self._admission.backlog_s(now_s)
            raise UnavailableError(
                "too many are joining" if self.ready else "the gateway is starting",
                code="overloaded" if self.ready else "starting",
                retry_after_s=1 + random.random() * max(2.0, 2 * backlog_s),
            )
        if wait_s > 0:
            await asyncio.sleep(wait_s)

    async def _serve(
        self,
        socket: LiveSocket,
        scope: Scope,
        receive: Receive,
        headers: dict[bytes, str],
        room: str,
    ) -> None:
        principal = await self._identify(socket, scope, receive, headers)
        socket.principal = principal
        state = await self._archive.find(room) if is_room_id(room) else None
        if state is None:
            raise NotFoundError("there is no such room", code="room_not_found")
        if principal.id in state.banned and principal.role == "viewer":
            raise ForbiddenError("this user is banned from the room", code="banned")
        socket.expire_with(principal)
        session = f"{self._gateway}/{self._next_number}"
        self._next_number += 1
        query = parse_qs(scope["query_string"].decode("latin-1"))
        await self._enter(socket, room, session, query.get("cursor", [""])[0])
        metrics.JOINS.labels("live").inc()
        socket.attendance = Attendance(session, room, principal.id, principal.role)
        self._by_session[session] = socket
        if self._directory.rooms[room].status == "open":
            self._presence.join(socket.attendance)
        while True:
            effects = await _next(socket.session, receive)
            for effect in effects:
                if isinstance(effect, Authenticate):
                    await self._authenticate_again(socket, effect.token)
            await self._carry_out(socket, effects)

    async def _authenticate_again(self, socket: LiveSocket, token: str) -> None:
        """A fresh token of the same user prolongs the socket; any other ends it."""
        principal = await self._auth.by_token(token)
        if socket.principal is None or principal.id != socket.principal.id:
            raise UnauthorizedError("a socket stays its user's")
        socket.principal = principal
        socket.expire_with(principal)

    async def _identify(
        self, socket: LiveSocket, scope: Scope, receive: Receive, headers: dict[bytes, str]
    ) -> Principal:
        """Who this is: by the handshake, or by the first frame."""
        session = socket.session
        if session.state == "authenticating":
            token = _token_of(headers, scope["subprotocols"])
            principal = await self._auth.by_headers(
                None if token is None else f"Bearer {token}",
                headers.get(b"x-user"),
                headers.get(b"x-role"),
            )
            if principal is None:
                raise UnauthorizedError("nobody is named")
        else:
            try:
                async with asyncio.timeout(limits.AUTH_TIMEOUT_S):
                    principal = await self._await_auth(socket, receive)
            except TimeoutError:
                socket.tell({"t": "error", "code": "auth_timeout", "detail": "no `auth` came"})
                socket.close("auth_timeout")
                raise GoneError from None
        session.authenticated()
        return principal

    async def _await_auth(self, socket: LiveSocket, receive: Receive) -> Principal:
        while True:
            effects = await _next(socket.session, receive)
            for effect in effects:
                if isinstance(effect, Authenticate):
                    return await self._auth.by_token(effect.token)
            await self._carry_out(socket, effects)

    async def _enter(self, socket: LiveSocket, room: str, session: str, asked: str) -> None:
        """Say hello, send what was missed, and attach: no gap and no repeat in between."""
        channel = self._hub.channel(room, partition_of_room(room, self._partitions))
        channel.entering += 1
        try:
            await self._greet(socket, channel, session, asked)
        finally:
            channel.entering -= 1

    async def _greet(self, socket: LiveSocket, channel: Channel, session: str, asked: str) -> None:
        room, partition = channel.room, channel.partition
        first = self._hub.cursors.offset_of(asked, partition) if asked else None
        if first is not None and not await self._hub.reached(
            partition, first, limits.CURSOR_WAIT_S
        ):
            first = None
        await self._recent.complete(channel)
        if first is not None and first < channel.from_offset:
            first = None
        if asked:
            metrics.RESUMES.labels("false" if first is None else "true").inc()
        position = self._hub.horizon(channel) if first is None else first
        clock = self._clocks.clock(room)
        told = self._hub.cursors.text(partition, position)
        socket.write(
            hello_frame(
                room_view(self._directory.rooms[room], clock, told),
                session=session,
                recovered=first is not None,
                cursor=told,
                comments=self._hub.snapshot_comments(channel) if first is None else [],
                top_senders=self._directory.top_senders(room),
                clock=clock,
            )
        )
        await self._send_missed(socket, channel, position)
        socket.channel = channel
        protocol = socket.protocol
        protocol.on_pause = lambda: self._paused(socket, channel)
        protocol.on_resume = lambda: self._resumed(socket, channel)
        protocol.on_lost = lambda: self._hub.detach(channel, socket)
        self._hub.attach(channel, socket)

    async def _send_missed(self, socket: LiveSocket, channel: Channel, position: int) -> None:
        """Send events from `position` on until there are none that attached sockets have had."""
        await socket.drained()
        while True:
            if position < channel.from_offset:
                socket.close_slow()  # It took longer than the ring lasts.
                raise GoneError
            chunk = _chunk(channel, position, self._hub.horizon(channel))
            if not chunk:
                return
            position = chunk[-1].offset + 1
            socket.write(events_frame(self._hub.cursors.text(channel.partition, position), chunk))
            await socket.drained()

    def _paused(self, socket: LiveSocket, channel: Channel) -> None:
        socket.slow = True
        self._hub.reshape(channel)

    def _resumed(self, socket: LiveSocket, channel: Channel) -> None:
        # Not now: this may be called from inside a flush, before the hub has written all of it.
        asyncio.get_running_loop().call_soon(self._unshape, socket, channel)

    def _unshape(self, socket: LiveSocket, channel: Channel) -> None:
        if socket.protocol.writable.is_set() and socket.slow:
            socket.slow = False
            self._hub.reshape(channel)
            self._hub.tell_skipped(channel, socket)

    # --- frames from the viewer -----------------------------------------------------------------

    async def _carry_out(self, socket: LiveSocket, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Reply):
                if effect.message["t"] == "pong":
                    # The session has no clock; half a round trip is what a client makes of this.
                    effect.message["server_ms"] = time.time_ns() / 1e6
                socket.tell(effect.message)
            elif isinstance(effect, Submit):
                await self._submit(socket, effect)
            elif isinstance(effect, Close):
                socket.close(effect.reason)
                raise GoneError

    async def _submit(self, socket: LiveSocket, effect: Submit) -> None:
        if socket.attendance is None or socket.principal is None:
            return  # Not entered yet; the session lets no `send` through before that.
        state = self._directory.rooms[socket.attendance.room]
        sent = gifts_in(effect.parsed, socket.principal)
        told: ToldOutcomes | None = None
        stored: Stored = {}
        if sent:
            # Before anything is looked up or written: what happens in between must not be missed.
            told = ToldOutcomes(self._gifts, state.room, sent, partial(_tell_outcomes, socket))
            socket.awaits(told)
            stored = await self._gifts.stored(sent)
        try:
            submission = self._intake.submit(
                socket.principal,
                state,
                effect.parsed,
                address=socket.address,
                session=socket.attendance.session,
                stored=stored,
            )
        except EngagementError as error:
            if told is not None:
                told.end()
            socket.session.answered()
            socket.tell(error_message(error))
            return
        if told is not None:
            told.submitted(submission.results)
        waiting = [flush.done for flush in submission.flushes if not flush.done.done()]
        left = len(waiting)

        def acknowledged(_: object) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                _answer(socket, submission, told)

        for done in waiting:
            done.add_done_callback(acknowledged)
        if not waiting:
            _answer(socket, submission, told)

    def _refuse(self, socket: LiveSocket, error: EngagementError) -> None:
        metrics.JOINS.labels(error.code).inc()
        socket.tell(error_message(error))
        reason = error.code if error.code in CLOSE_CODES else "unauthorized"
        socket.close("overloaded" if error.status == 503 else reason)

    def _lose(self, socket: LiveSocket) -> None:
        if socket.expiry is not None:
            socket.expiry.cancel()
        if socket.channel is not None:
            self._hub.detach(socket.channel, socket)
        socket.end_awaiting()
        if socket.attendance is not None:
            self._by_session.pop(socket.attendance.session, None)
            self._presence.leave(socket.attendance)


def _answer(socket: LiveSocket, submission: Submission, told: ToldOutcomes | None) -> None:
    """Tell a sender its results, once the log has all of them."""
    socket.session.answered()
    if all(flush.acked for flush in submission.flushes):
        socket.tell({"t": "ack", "results": submission.results})
        if told is not None:
            told.acknowledged(submission.results)
        return
    if told is not None:
        told.end()
    socket.tell(
        {
            "t": "error",
            "code": "log_unavailable",
            "detail": "the log does not acknowledge; send the same requests again",
            "ids": [result.id for result in submission.results],
        }
    )


def _tell_outcomes(socket: LiveSocket, results: list[ToldGift]) -> None:
    socket.tell({"t": "outcome", "results": results})


async def _next(session: Session, receive: Receive) -> list[Effect]:
    """The effects of the next frame. Raises GoneError when there will be none."""
    message = await receive()
    if message["type"] == "websocket.disconnect":
        raise GoneError
    text = message.get("text")
    if text is None:
        return session.receive_binary()
    return session.receive_text(text, time.monotonic())


def _chunk(channel: Channel, first: int, last: int) -> list[Event]:
    chunk: list[Event] = []
    size = 0
    for event in channel.missed(first, last):
        chunk.append(event)
        size += len(event.raw)
        if size >= limits.RESUME_CHUNK_BYTES:
            break
    return chunk


def _token_of(headers: dict[bytes, str], offered: list[str]) -> str | None:
    """A token in the handshake: the header of a program, the subprotocol of a browser."""
    scheme, _, token = headers.get(b"authorization", "").partition(" ")
    if token and scheme.lower() == "bearer":
        return token.strip()
    for protocol in offered:
        if protocol.startswith(TOKEN_SUBPROTOCOL):
            return protocol.removeprefix(TOKEN_SUBPROTOCOL)
        if protocol.count(".") == 2 and protocol.startswith("ey"):
            return protocol  # A bare JWT: its header is JSON, so its text begins with `ey`.
    return None
