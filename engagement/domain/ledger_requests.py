"""The record of `live.gift-requests.v1`: requests about money, by the wallet they are about.

Internal format, as `envelope.Envelope` is. All that a decision needs beside the books is in the
record: the gift's terms, the room's host and battle as the gateway knew them when it took the
request. So replaying the topic gives the same ledger, byte for byte.
"""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from engagement.domain import limits
from engagement.domain.catalogue import GiftTerms, PricedGift
from engagement.domain.envelope import ClockEntry
from engagement.domain.requests import GiftSend, RequestId, Role

Coins = Annotated[int, Meta(ge=1, le=limits.DEPOSIT_COINS_MAX)]

CATALOGUE_ACCOUNT = "catalogue"
"""Whose partition decides about the catalogue."""


class DepositOrder(Struct, frozen=True, forbid_unknown_fields=True):
    """Put coins into a wallet."""

    coins: Coins
    source: Literal["purchase", "promotion"] = "purchase"


class HoldOrder(Struct, frozen=True, forbid_unknown_fields=True):
    """Set coins of a wallet aside for `to` (a user's wallet; empty: the house)."""

    coins: Coins
    ttl_s: Annotated[int, Meta(ge=1, le=limits.HOLD_TTL_S_MAX)]
    to: Annotated[str, Meta(max_length=limits.ACTOR_ID_CHARS_MAX)] = ""


class HoldTarget(Struct, frozen=True, forbid_unknown_fields=True):
    """The hold that is resolved: the id of the request that placed it."""

    hold: RequestId


class ReversalOrder(Struct, frozen=True, forbid_unknown_fields=True):
    """Take a paid gift back: the id of the request that sent it."""

    gift: RequestId
    reason: Annotated[str, Meta(max_length=200)] = ""


class Moment(Struct, frozen=True):
    """A wall time that has passed."""

    at_us: int


class MarkedBattle(Struct, frozen=True):
    """The battle whose books are to be closed, and the number of the attempt."""

    battle: str
    barrier: int
    partitions: int
    """Of this topic: so many barriers make one."""


class _MoneyRequest(Struct, frozen=True, tag_field="type", kw_only=True):
    id: RequestId


class Deposit(_MoneyRequest, tag="wallet.deposit", frozen=True):
    """Coins were bought, or are given (role service)."""

    data: DepositOrder


class HoldPlace(_MoneyRequest, tag="hold.place", frozen=True):
    """Set coins aside (role service)."""

    data: HoldOrder


class HoldPost(_MoneyRequest, tag="hold.post", frozen=True):
    """Move the coins of a hold to whom they were held for (role service)."""

    data: HoldTarget


class HoldVoid(_MoneyRequest, tag="hold.void", frozen=True):
    """Free the coins of a hold (role service)."""

    data: HoldTarget


class GiftReverse(_MoneyRequest, tag="gift.reverse", frozen=True):
    """Compensate a paid gift (role service)."""

    data: ReversalOrder


class CatalogueChange(_MoneyRequest, tag="catalogue.change", frozen=True):
    """Add a gift, change its terms, or stop selling it (role admin)."""

    data: GiftTerms


class TimePassed(_MoneyRequest, tag="ledger.time_passed", frozen=True):
    """Internal: holds that ended by then are expired. A timer that is on the log is replayed."""

    data: Moment


class BattleMark(_MoneyRequest, tag="battle.mark", frozen=True):
    """Internal: a barrier. All gifts before it in this partition are decided when the battle is
    told of it; when all partitions have told, the battle's books can be closed."""

    data: MarkedBattle


MoneyRequest = (
    GiftSend
    | Deposit
    | HoldPlace
    | HoldPost
    | HoldVoid
    | GiftReverse
    | CatalogueChange
    | TimePassed
    | BattleMark
)


class MoneyAsked(Struct, frozen=True, omit_defaults=True):
    """One request about money as the gateway took it."""

    account: str
    """The user whose wallet it is about; it chooses the partition. Empty for internal ones."""
    actor: str
    """Who asks, or in whose name a service does."""
    role: Role
    at_us: int
    request: MoneyRequest
    room: str = ""
    host: str = ""
    """The room's host: who earns the gift."""
    session: str | UnsetType = UNSET
    anchor: int | UnsetType = UNSET
    """Index into the envelope's `clock`."""
    terms: int | UnsetType = UNSET
    """Index into the envelope's `terms`; absent when the catalogue does not offer the gift."""
    traceparent: str | UnsetType = UNSET


class MoneyEnvelope(Struct, frozen=True, omit_defaults=True):
    """One flush."""

    gateway: str
    asks: list[MoneyAsked]
    clock: list[ClockEntry] = []
    terms: list[PricedGift] = []
    v: Literal[1] = 1
