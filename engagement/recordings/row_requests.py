"""The requests that rows become, each with an id that derives from the room and the row."""

from collections.abc import Iterable, Iterator, Sequence
from uuid import uuid5

from msgspec import UNSET, Struct
from msgspec.structs import replace

from engagement.domain import limits, requests
from engagement.domain.requests import RECORDED
from engagement.recordings.battles import PlacedFrame, told_battles
from engagement.recordings.gifts import RecordedGift, slug
from engagement.recordings.names import SOURCE_NAMESPACE
from engagement.recordings.past import RoomPast
from engagement.recordings.rows import Row


class RowRequest(Struct, frozen=True):
    """One request of a recording."""

    at_us: int
    actor: str
    request: requests.Request
    row: Row | None = None
    """What it came from; news of a battle come from several rows."""


def requests_of(rows: Sequence[Row], *, room: str, host: str) -> list[RowRequest]:
    """All requests of a recording, in the order of their time; its gifts have no numbers yet."""
    asked = [
        RowRequest(row.sent_us, row.user, request, row)
        for row in rows
        for request in _requests(room, host, row)
    ]
    frames = [PlacedFrame(row.sent_us, row.battle) for row in rows if row.battle is not None]
    told = told_battles(frames, room=room, host=host, last_us=rows[-1].sent_us)
    for news in told:
        about = (news.news.kind, news.news.battle, news.news.revision)
        request = requests.BattleTold(id=request_id(room, *about), data=news.news)
        asked.append(RowRequest(news.at_us, host, request))
    return sorted(asked, key=lambda one: one.at_us)


def still_to_ask(asked: Iterable[RowRequest], past: RoomPast) -> list[RowRequest]:
    """What of it the room does not know yet, its gifts numbered on.

    Another version of a recording may have other frames of a streak, and a later end of a battle:
    of a streak only what is more than its known total is asked, of an ended battle nothing.
    """
    left = []
    number = past.newest_gift
    for one in asked:
        request = one.request
        if request.id in past.epoch_of_request:
            continue
        if isinstance(request, requests.BattleTold):
            if request.data.battle not in past.ended_battles:
                left.append(one)
        elif isinstance(request, requests.GiftPaid):
            paid = _beyond(past, one, request.data)
            if paid is None:
                continue
            number += 1
            left.append(replace(one, request=replace(request, data=replace(paid, entry=number))))
        else:
            left.append(one)
    return left


def request_id(room: str, *about: object) -> str:
    """The same row of the same recording always asks with the same id."""
    return str(uuid5(SOURCE_NAMESPACE, "\x1f".join([room, *map(str, about)])))


def _requests(room: str, host: str, row: Row) -> Iterator[requests.Request]:
    """One request; likes beyond what one request may hold become several."""
    identity = row.identity()
    if row.kind == "comment":
        text = requests.CommentText(row.text)
        yield requests.CommentPost(id=request_id(room, *identity), data=text)
    elif row.kind == "join":
        yield requests.RoomJoin(id=request_id(room, *identity))
    elif row.kind == "like":
        left = row.count
        while left > 0:
            taps = requests.LikeTaps(min(left, limits.LIKE_COUNT_MAX))
            yield requests.LikeTap(id=request_id(room, *identity, left), data=taps)
            left -= taps.count
    elif row.gift is not None:
        yield _paid(room, host, row, row.gift)


def _paid(room: str, host: str, row: Row, gift: RecordedGift) -> requests.GiftPaid:
    """A gift that no ledger has booked: nobody here has paid for it, or earned by it."""
    about: tuple[object, ...] = row.identity()
    if gift.cumulative:
        # Whichever frame told it: another recording of the same room may have lost that one.
        about = ("gift", row.user, gift.gift, gift.streak, gift.count)
    price = gift.unit_price or 0
    return requests.GiftPaid(
        id=request_id(room, *about),
        data=requests.PaidGift(
            gift=gift.gift,
            name=gift.name,
            tier=gift.tier,
            animation=slug(gift.name),
            count=gift.added,
            unit_price=price,
            coins=gift.added * price,
            earned=0,
            to=host,
            ledger=RECORDED,
            entry=0,
            combos=gift.cumulative,
            combo=gift.streak or UNSET,
        ),
    )


def _beyond(past: RoomPast, one: RowRequest, paid: requests.PaidGift) -> requests.PaidGift | None:
    """What a gift adds to the total of its streak that the room knows; None when nothing."""
    gift = one.row.gift if one.row is not None else None
    if gift is None or not gift.cumulative:
        return paid
    known = past.streaks.get((one.actor, gift.gift, gift.streak), 0)
    count = gift.count - max(gift.before, known)
    return replace(paid, count=count, coins=count * paid.unit_price) if count > 0 else None
