"""Bodies and answers of the calls about wallets and gifts."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from engagement.domain import limits
from engagement.domain.catalogue import PricedGift
from engagement.domain.events import rfc3339
from engagement.domain.ledger import Hold, HoldStatus
from engagement.domain.ledger_requests import Coins
from engagement.domain.requests import ActorName, RequestId

PostedStatus = Literal["posted", "duplicate"]
"""`duplicate`: the same request was posted before, and nothing has changed now."""


class DepositBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Puts coins into a wallet."""

    id: RequestId
    coins: Coins
    source: Literal["purchase", "promotion"] = "purchase"


class HoldBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Sets coins of a wallet aside."""

    id: RequestId
    coins: Coins
    ttl_s: Annotated[int, Meta(ge=1, le=limits.HOLD_TTL_S_MAX)]
    to: ActorName | UnsetType = UNSET
    """Whose earnings they become when the hold is posted; default: the house's."""


class ResolutionBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Resolves a hold."""

    id: RequestId


class ReversalBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Takes a paid gift back."""

    id: RequestId
    gift: RequestId
    """The request that sent it."""
    reason: Annotated[str, Meta(max_length=200)] = ""


class GiftBody(Struct, frozen=True, forbid_unknown_fields=True):
    """What a gift is from here on."""

    name: Annotated[str, Meta(min_length=1, max_length=80)]
    coins: Annotated[int, Meta(ge=1, le=limits.GIFT_PRICE_COINS_MAX)]
    tier: Annotated[int, Meta(ge=1, le=3)] = 1
    animation: Annotated[str, Meta(max_length=80)] = ""
    """Default: named like the gift."""
    combo: bool = True
    host_share_percent: Annotated[int, Meta(ge=0, le=100)] = 50
    offered: bool = True
    """False: it is not sold any more."""


class WalletView(Struct, frozen=True):
    """A user's coins."""

    account: str
    coins: int
    """Spendable."""
    held: int
    """Set aside by pending holds."""


class HoldView(Struct, frozen=True):
    """A hold."""

    hold: str
    account: str
    to: str
    """Empty: the house."""
    coins: int
    status: HoldStatus
    expires: str
    """RFC 3339."""


class PostedView(Struct, frozen=True, omit_defaults=True):
    """What was posted, and the wallet after it."""

    id: str
    status: PostedStatus
    account: str
    coins: int
    held: int
    hold: HoldView | UnsetType = UNSET
    """The hold that was placed or resolved."""


class EarningsOfDay(Struct, frozen=True):
    """One day of a host."""

    day: str
    """UTC, as `2026-12-31`: of when the gifts were accepted."""
    coins: int
    gifts: int


class EarningsView(Struct, frozen=True):
    """What a host has earned, reversals taken off."""

    host: str
    coins: int
    """As the ledger has it."""
    days: list[EarningsOfDay]
    """By gifts, newest first; the projection of these may be a moment behind the ledger."""


class Leader(Struct, frozen=True):
    """One line of a leaderboard."""

    rank: int
    actor: str
    coins: int
    gifts: int


class LeaderPage(Struct, frozen=True):
    """A leaderboard: it is one page."""

    items: list[Leader]
    next: None


class GiftView(Struct, frozen=True):
    """A gift of the catalogue."""

    gift: str
    name: str
    coins: int
    tier: int
    combo: bool
    animation: str
    version: int


class GiftPage(Struct, frozen=True):
    """The whole catalogue: it is one page."""

    items: list[GiftView]
    next: None


def hold_view(hold: Hold) -> HoldView:
    """A hold as it is told."""
    expires = rfc3339(hold.expires_us)
    return HoldView(hold.hold, hold.account, hold.to, hold.coins, hold.status, expires)


def gift_view(priced: PricedGift) -> GiftView:
    """A gift as it is told."""
    terms = priced.terms
    return GiftView(
        gift=terms.gift,
        name=terms.name,
        coins=terms.coins,
        tier=terms.tier,
        combo=terms.combo,
        animation=terms.animation or terms.gift,
        version=priced.version,
    )
