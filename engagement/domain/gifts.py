"""Gifts in a room: what it makes of a paid one, and combos.

The ledger has decided about the money; the room adds the gift to its timeline and counts the
combo, which is display only. A combo ends by a fact: when its taps are further apart than
`COMBO_WINDOW_MS` of accepted time, when the client begins another one, or with the room. The timer
only sees to it that the fact comes although nothing else does; what it says follows from the last
tap, so a replay ends the combo at the same place.
"""

from collections.abc import Iterator
from itertools import takewhile
from typing import Literal

import msgspec

from engagement.domain import events, limits, requests
from engagement.domain.envelope import Accepted
from engagement.domain.events import Decided, rfc3339
from engagement.domain.gift_events import GiftComboEnded, GiftReversed, GiftSent
from engagement.domain.media_time import Stamp
from engagement.domain.names import derived_id
from engagement.domain.rooms import Combo, RoomState, combo_key, is_news, transfer_name

_WINDOW_US = limits.COMBO_WINDOW_MS * 1000
_GRACE_US = limits.COMBO_GRACE_MS * 1000


def is_known(state: RoomState, asked: Accepted) -> bool:
    """Whether what the ledger tells was told before: entries come in order (ADR 0009)."""
    told = asked.request.data
    if not isinstance(told, requests.PaidGift | requests.ReversedGift):
        return False
    return told.entry <= state.entries.get(told.ledger, 0)


def sent(state: RoomState, asked: Accepted, stamp: Stamp, fact_id: str) -> Iterator[Decided]:
    """A paid gift; before it the end of a combo that it does not continue.

    `fact_id` is the id of the request that sent it, unless somebody else has used that here.
    """
    paid: requests.PaidGift = asked.request.data  # type: ignore[assignment]
    name = paid.combo or ""
    open_combo = state.combos.get(combo_key(asked.actor, paid.gift))
    if open_combo is not None and not _continues(open_combo, asked.at_us, name):
        reason: Literal["client", "timeout"] = "client" if name != open_combo.name else "timeout"
        yield ended(state, open_combo, reason)
        open_combo = None
    if open_combo is None and len(state.combos) >= limits.COMBOS_PER_ROOM_MAX:
        yield ended(state, next(iter(state.combos.values())), "timeout")
    data = GiftSent(
        gift=paid.gift,
        name=paid.name,
        tier=paid.tier,
        animation=paid.animation,
        count=paid.count,
        unit_price=paid.unit_price,
        coins=paid.coins,
        earned=paid.earned,
        to=paid.to,
        transfer=transfer_name(paid.ledger, paid.entry),
        session=state.session,
        battle=paid.battle,
    )
    if paid.combos:
        combo = derived_id(state.room, "combo", asked.actor, paid.gift, fact_id)
        data = msgspec.structs.replace(
            data,
            combo=combo if open_combo is None else open_combo.combo,
            combo_name=paid.combo,
            combo_count=paid.count + (0 if open_combo is None else open_combo.count),
        )
    yield Decided(
        kind="gift.sent",
        id=fact_id,
        room=asked.room,
        at_us=asked.at_us,
        stamp=stamp,
        data=data,
        actor=asked.actor,
        cause=asked.request.id,
        traceparent=asked.traceparent,
    )


def taken_back(state: RoomState, asked: Accepted, stamp: Stamp) -> Decided:
    """A gift that was reversed. What was shown was shown; sums are less from here on."""
    told: requests.ReversedGift = asked.request.data  # type: ignore[assignment]
    transfer = transfer_name(told.ledger, told.entry)
    is_of_session = told.sent_us >= state.session_us
    return Decided(
        kind="gift.reversed",
        id=derived_id(asked.room, "gift.reversed", transfer),
        room=asked.room,
        at_us=asked.at_us,
        stamp=stamp,
        data=GiftReversed(
            request=told.gift,
            coins=told.coins,
            earned=told.earned,
            to=told.to,
            transfer=transfer,
            session=state.session if is_of_session else "",
            sent=rfc3339(told.sent_us),
            reason=told.reason,
            count=told.count,
        ),
        actor=asked.actor,
        cause=asked.request.id,
    )


def unpaid(asked: Accepted, stamp: Stamp) -> Decided:
    """A gift that the ledger refused: told to the one who sent it."""
    told: requests.UnpaidGift = asked.request.data  # type: ignore[assignment]
    data = events.RequestRefused(
        request=asked.request.id,
        request_type="gift.send",
        code=told.code,
        session=asked.session or "",
    )
    return Decided(
        kind="request.refused",
        id=derived_id(asked.room, "unpaid", asked.actor, asked.request.id, told.code),
        room=asked.room,
        at_us=asked.at_us,
        stamp=stamp,
        data=data,
        actor=asked.actor,
        cause=asked.request.id,
        traceparent=asked.traceparent,
    )


def battle_told(state: RoomState, asked: Accepted, stamp: Stamp) -> Iterator[Decided]:
    """What a battle tells this room, unless something newer is known here."""
    news: requests.BattleNews = asked.request.data  # type: ignore[assignment]
    if not is_news(state, news.battle, news.revision):
        return
    yield Decided(
        kind=news.kind,
        id=derived_id(asked.room, news.kind, news.battle, news.revision),
        room=asked.room,
        at_us=asked.at_us,
        stamp=stamp,
        data=msgspec.json.decode(news.data, type=events.ROOM_BATTLE_TYPES[news.kind]),
        cause=asked.request.id,
    )


def due_combos(state: RoomState, now_us: int) -> list[Decided]:
    """Combos that nobody has continued in time; taps that are still being paid are waited for."""
    over_us = now_us - _WINDOW_US - _GRACE_US
    # Whichever was tapped last is last; the few that were not paid in order are a little late.
    due = takewhile(lambda combo: combo.last_at_us <= over_us, state.combos.values())
    return [ended(state, combo, "timeout") for combo in due]


def close_combos(state: RoomState) -> list[Decided]:
    """The combos of a room that closes."""
    return [ended(state, combo, "room_closed") for combo in state.combos.values()]


def ended(
    state: RoomState, combo: Combo, reason: Literal["timeout", "client", "room_closed"]
) -> Decided:
    """The end of a combo, at the place in media time of its last tap."""
    return Decided(
        kind="gift.combo.ended",
        id=derived_id(state.room, "combo.ended", combo.combo),
        room=state.room,
        at_us=combo.last_at_us,
        stamp=combo.last_stamp,
        data=GiftComboEnded(combo.combo, combo.gift, combo.count, combo.coins, reason),
        actor=combo.actor,
    )


def _continues(combo: Combo, at_us: int, name: str) -> bool:
    return name == combo.name and abs(at_us - combo.last_at_us) <= _WINDOW_US
