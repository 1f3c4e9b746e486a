"""Gifts and battles become marks in the video: which, at which media time, and told once."""

import asyncio
import json
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from engagement.domain.battle_events import BattleStarted, Side
from engagement.domain.events import CommentPosted, Decided
from engagement.domain.gift_events import GiftSent
from engagement.domain.media_time import Stamp
from engagement.log.codec import encode_fact
from engagement.marks.follower import MarksFollower
from engagement.marks.mark import mark_of, may_be_marked
from engagement.settings import Settings
from tests.waiting import until

STAMP = Stamp(epoch=3, pts_ms=12_345, err_ms=8.0, anchor="a")


def gift(tier: int = 2, stamp: Stamp = STAMP, fact_id: str = "gift-1") -> Decided:
    data = GiftSent(
        gift="whale", name="Whale", tier=tier, animation="whale", count=2, unit_price=500,
        coins=1_000, earned=500, to="mika", transfer="0-1", session="s",
    )  # fmt: skip
    return fact("gift.sent", data, stamp, fact_id)


def battle() -> Decided:
    data = BattleStarted(
        battle="pk-1", revision=2, sides=[Side("demo", "mika"), Side("rival", "juno")],
        started="2026-01-01T00:00:00Z", deadline="2026-01-01T00:05:00Z", duration_s=300,
        rule="coins",
    )  # fmt: skip
    return fact("battle.started", data, STAMP, "battle-1")


def fact(kind: str, data: Any, stamp: Stamp, fact_id: str) -> Decided:
    return Decided(kind, fact_id, "demo", 1_700_000_000_000_000, stamp, data, actor="emi")


def comment() -> Decided:
    return fact("comment.posted", CommentPosted('she said "gift.sent"!'), STAMP, "comment-1")


def test_a_gift_is_marked_where_it_is_stamped() -> None:
    mark = mark_of(gift())
    assert mark == {
        "id": "gift-1", "epoch": 3, "pts_ms": 12_345, "kind": "gift", "duration_ms": 0.0,
        "attributes": {
            "gift": "whale", "name": "Whale", "tier": "2", "count": "2", "sender": "emi",
        },
    }  # fmt: skip


def test_a_battle_is_marked_for_as_long_as_it_lasts() -> None:
    mark = mark_of(battle())
    assert mark is not None
    assert (mark["kind"], mark["duration_ms"]) == ("battle", 300_000.0)
    assert mark["attributes"] == {"battle": "pk-1", "rivals": "rival"}


@pytest.mark.parametrize(
    "unmarked",
    [gift(tier=1), gift(stamp=Stamp(0, 12_345, None, None)), comment()],
    ids=["a small gift", "a gift by wall time", "a comment"],
)
def test_other_facts_are_not(unmarked: Decided) -> None:
    assert mark_of(unmarked) is None


def test_what_was_stamped_before_the_first_frame_is_marked_at_it() -> None:
    mark = mark_of(gift(stamp=Stamp(3, -40, 250.0, "a")))
    assert mark is not None and mark["pts_ms"] == 0


def test_records_that_are_never_marked_are_turned_away_undecoded() -> None:
    assert may_be_marked(encode_fact(gift())) and may_be_marked(encode_fact(battle()))
    assert not may_be_marked(None)
    assert not may_be_marked(b'{"type":"comment.posted"}')


class Media:
    """A media process that answers as it is told to."""

    def __init__(self, *answers: int | Exception) -> None:
        self.posted: list[tuple[str, dict[str, Any]]] = []
        self.authorization: list[str | None] = []
        self.hosts: list[str] = []
        self.asked = 0
        self._answers = list(answers)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked += 1
        self.authorization.append(request.headers.get("authorization"))
        self.hosts.append(request.url.netloc.decode())
        answer = self._answers.pop(0) if self._answers else 204
        if isinstance(answer, Exception):
            raise answer
        if answer == 204:
            self.posted.append((request.url.path, json.loads(request.content)))
        return httpx.Response(answer)


async def tell(
    media: Media, facts: list[bytes | None], expected: int, settings: Settings | None = None
) -> None:
    async with httpx.AsyncClient(transport=httpx.MockTransport(media)) as client:
        follower = MarksFollower(settings or Settings(auth="dev"), client)
        running = asyncio.create_task(follower.run())
        follower.handle(0, [SimpleNamespace(value=value) for value in facts])

        async def enough() -> bool:
            return media.asked >= expected

        await until(enough, "every mark was posted")
        running.cancel()


async def test_marks_are_posted_to_their_room_in_the_order_of_the_log() -> None:
    media = Media()
    poison = b'{"type":"gift.sent"'
    await tell(media, [encode_fact(gift()), None, poison, encode_fact(battle())], 2)
    assert [path for path, _ in media.posted] == ["/v1/rooms/demo/marks"] * 2
    assert [mark["id"] for _, mark in media.posted] == ["gift-1", "battle-1"]


async def test_a_media_process_that_is_away_is_asked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("engagement.marks.follower.RETRY_S", 0.0)
    media = Media(httpx.ConnectError("away"), httpx.ConnectError("away"))
    await tell(media, [encode_fact(gift())], 3)
    assert [mark["id"] for _, mark in media.posted] == ["gift-1"]


async def test_a_room_without_video_is_not_asked_twice() -> None:
    media = Media(404)
    await tell(media, [encode_fact(gift()), encode_fact(battle())], 2)
    assert [mark["id"] for _, mark in media.posted] == ["battle-1"]


async def test_where_nothing_can_be_signed_a_token_is_given() -> None:
    media = Media()
    settings = Settings(
        jwt_jwks_url="https://issuer.example/keys",
        media_internal_url="http://media:8081",
        marks_token="of-the-platform",
    )
    await tell(media, [encode_fact(gift())], 1, settings)
    assert media.authorization == ["Bearer of-the-platform"]
    assert media.hosts == ["media:8081"]
