"""Sessions of the embedded engine that come to nothing, and those that outlive their publisher."""

from collections.abc import AsyncIterator

import pytest

from engagement.errors import NotFoundError
from media.anchor_book import wall_ms
from media.embedded import EmbeddedEngine
from media.engine import PlayRequest, PublishRequest, SessionId
from media.webrtc import bounds
from tests.waiting import until
from tests.webrtc_clients import Publisher, Viewer


class Hurried:
    """An engine whose clock can be put forward."""

    def __init__(self) -> None:
        self.ahead_ms = 0.0
        self.engine = EmbeddedEngine(
            addresses=("127.0.0.1",), now_ms=lambda: wall_ms() + self.ahead_ms
        )
        self.sessions: list[SessionId] = []

    async def publish(self, room: str, user: str = "ana") -> Publisher:
        publisher = Publisher()

        async def exchange(offer: str) -> str:
            grant = await self.engine.publish(PublishRequest(room, "whip", user, offer))
            self.sessions.append(grant.session)
            return str(grant.answer_sdp)

        await publisher.publish(exchange)

        async def is_live() -> bool:
            return self.engine.clock.now(room) is not None

        await until(is_live, "the stream")
        return publisher

    async def is_gone(self, session: SessionId) -> None:
        async def gone() -> bool:
            try:
                self.engine.room_and_owner(session)
            except NotFoundError:
                return True
            return False

        await until(gone, "the session's end")


@pytest.fixture
async def hurried() -> AsyncIterator[Hurried]:
    made = Hurried()
    await made.engine.start({})
    yield made
    await made.engine.close()


async def test_who_never_connects_is_forgotten_and_the_room_is_free(
    hurried: Hurried, room: str
) -> None:
    absent = Publisher()
    await absent.connection.setLocalDescription(await absent.connection.createOffer())
    offer = absent.connection.localDescription.sdp
    grant = await hurried.engine.publish(PublishRequest(room, "whip", "ana", offer))
    await absent.close()
    hurried.ahead_ms = bounds.CONNECT_S_MAX * 1000 + 1
    await hurried.is_gone(grant.session)
    publisher = await hurried.publish(room, "ben")
    await publisher.close()


async def test_viewers_wait_for_a_publisher_to_come_back_but_not_for_ever(
    hurried: Hurried, room: str
) -> None:
    publisher, viewer = await hurried.publish(room), Viewer()

    async def play(offer: str) -> str:
        grant = await hurried.engine.play(PlayRequest(room, ("whep",), "ben", offer))
        hurried.sessions.append(grant.session)
        return str(grant.answer_sdp)

    await viewer.play(play)
    await viewer.more_frames(1)
    await publisher.close()
    whip, whep = hurried.sessions
    await hurried.is_gone(whip)
    assert hurried.engine.room_and_owner(whep) == (room, "ben")
    hurried.ahead_ms = bounds.SESSION_LINGER_S * 1000 + 1_000
    await hurried.is_gone(whep)
    assert hurried.engine.publishing() == []
    await viewer.close()


async def test_a_rooms_epochs_run_on_after_everybody_has_left(hurried: Hurried, room: str) -> None:
    for epoch in (1, 2):
        publisher = await hurried.publish(room)

        async def has_epoch(wanted: int = epoch) -> bool:
            return hurried.engine.clock.newest_epoch(room) == wanted

        await until(has_epoch, "the next epoch")
        await publisher.close()
        await hurried.is_gone(hurried.sessions[-1])
