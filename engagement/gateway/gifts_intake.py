"""Taking gifts in: what a gateway can know of one before the ledger decides about it.

The ledger decides about the money and about repeats. Here a gift is priced, refused for what is
plain (nobody sells it, it is for somebody else, the sender is the host), and a repeat of one that
was decided before is answered with what was stored. Such a refusal must be definite: when the
database could not say whether the same id was paid before, the sender is told to ask again.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import replace

from engagement.domain import limits
from engagement.domain.ledger import RequestKey, Settled
from engagement.domain.requests import GiftSend, Role
from engagement.domain.rooms import RoomState
from engagement.gateway.catalogue_follower import CatalogueFollower
from engagement.gateway.flushes import Flush
from engagement.gateway.money_envelopes import MoneyAsk, MoneyWriter
from engagement.gateway.outcomes import Outcome, Outcomes, Waiter, outcome_of
from engagement.gateway.rates import Buckets
from engagement.gateway.requests_json import Parsed
from engagement.gateway.settlements import Settlements, body_mark
from engagement.gateway.unsold_gifts import UnsoldGifts
from engagement.settings import Settings
from engagement.tokens import Principal

Stored = Mapping[RequestKey, Settled] | None
"""What the ledger had stored of the gifts in hand; None when it could not be asked."""

UNKNOWN_GIFT: Final = "unknown_gift"


class Refused(Struct, frozen=True):
    """Why a gift is not taken, and which of its fields says so."""

    code: str
    field: str | UnsetType = UNSET


class Acceptance(Struct, frozen=True):
    """Under what circumstances a gift is accepted."""

    room: RoomState
    role: Role
    at_us: int
    session: str | UnsetType
    traceparent: str | UnsetType


class SentGift(Struct, frozen=True):
    """One gift of a body."""

    position: int
    account: str
    """Who sends it, and pays."""
    gift: GiftSend
    """Under its normal id."""

    @property
    def key(self) -> RequestKey:
        """The scope of its id."""
        return self.account, self.gift.id


def gifts_in(parsed: Parsed, principal: Principal) -> list[SentGift]:
    """The gifts of a body."""
    return [
        SentGift(
            position,
            principal.id if item.actor is UNSET else item.actor,
            replace(item, id=item.id.lower()),
        )
        for position, item in enumerate(parsed.items)
        if isinstance(item, GiftSend)
    ]


class GiftsIntake:
    """Everything about gifts between a well-formed request and the log."""

    def __init__(
        self,
        settings: Settings,
        catalogue: CatalogueFollower,
        unsold: UnsoldGifts,
        writer: MoneyWriter,
        settlements: Settlements,
        outcomes: Outcomes,
    ) -> None:
        self._catalogue = catalogue
        self._unsold = unsold
        self._writer = writer
        self._settlements = settlements
        self._outcomes = outcomes
        self._users = Buckets(settings.user_gifts_per_s)

    async def stored(self, gifts: Sequence[SentGift]) -> Stored:
        """What became of those that were decided before; asked before they are submitted.

        Waits for what they cost, too, where it is about to be known.
        """
        names = {sent.gift.data.gift for sent in gifts}
        if any(map(self._catalogue.awaits, names)):
            await self._catalogue.until(names, limits.CATALOGUE_WAIT_S)
        await self._unsold.look_up(names)
        return await self._settlements.find([sent.key for sent in gifts])

    def expect(
        self, room: str, gifts: Iterable[SentGift], told: Callable[[RequestKey, Outcome], None]
    ) -> list[Waiter]:
        """Tell the outcome of these as soon as it is known."""
        waiters = [Waiter(sent.account, room, sent.gift, told) for sent in gifts]
        for waiter in waiters:
            self._outcomes.expect(waiter)
        return waiters

    def forget(self, waiters: Iterable[Waiter]) -> None:
        """Nobody waits for these any more."""
        for waiter in waiters:
            self._outcomes.forget(waiter)

    def decided(
        self, stored: Stored, room: RoomState, account: str, gift: GiftSend
    ) -> Outcome | Refused | None:
        """What the ledger had made of the same request before; None when nothing."""
        settled = None if stored is None else stored.get((account, gift.id))
        if settled is None:
            return None
        if settled.fingerprint != body_mark(account, room.room, gift):
            return Refused("id_reused")
        return outcome_of(settled)

    def refusal(
        self, room: RoomState, account: str, gift: GiftSend, *, limited: bool
    ) -> Refused | None:
        """Why this gift cannot be paid, as far as this gateway knows; None when it can."""
        order = gift.data
        if self._catalogue.find(order.gift) is None:
            if not self._is_refused_by_ledger(order.gift):
                return Refused("catalogue_unavailable", "$.data.gift")
            return Refused(UNKNOWN_GIFT, "$.data.gift")
        if order.to is not UNSET and order.to != room.host:
            return Refused("unknown_recipient", "$.data.to")
        if account == room.host:
            return Refused("self_gift")
        if limited and not self._users.take(account, 1, time.monotonic()):
            return Refused("rate_limited")
        return None

    def _is_refused_by_ledger(self, gift: str) -> bool:
        if self._catalogue.awaits(gift):
            return False
        return self._catalogue.known(gift) is not None or self._unsold.is_unsold(gift)

    def wait_s(self, account: str) -> float:
        """When this sender may send a gift again."""
        return self._users.wait_s(account, time.monotonic())

    def put(self, accepted: Acceptance, account: str, gift: GiftSend) -> Flush[MoneyAsk]:
        """Price a gift and put it on its way."""
        room = accepted.room
        return self._writer.put(
            MoneyAsk(
                account=account,
                role=accepted.role,
                at_us=accepted.at_us,
                request=gift,
                room=room.room,
                host=room.host,
                priced=self._catalogue.find(gift.data.gift),
                session=accepted.session,
                traceparent=accepted.traceparent,
            )
        )

    def has_room(self) -> bool:
        """Whether the broker keeps up."""
        return self._writer.has_room()


def applied_wait_s(prefer: str) -> float:
    """How long a `Prefer: wait=<s>` (RFC 7240 section 4.3) is honoured; 0 without a valid one."""
    for preference in prefer.split(","):
        name, _, value = preference.partition(";")[0].partition("=")
        if name.strip().lower() == "wait":
            digits = value.strip().strip('"')
            if digits.isascii() and digits.isdigit():
                return min(float(digits[:9]), limits.OUTCOME_WAIT_S_MAX)
            return 0.0  # The first one counts (section 2), and this one says nothing.
    return 0.0
