"""The gift catalogue: what a gift costs, looks like, and how its price is shared.

A price is decided by the server alone: the gateway that takes a gift puts the terms it follows
into the record, as it does with the clock anchor, so the ledger's decision is a pure function of
the log. A change gets its version from the ledger and is itself an event (`gift.catalogued`).
"""

from typing import Annotated, Final

from msgspec import Meta, Struct

from engagement.domain import limits
from engagement.domain.ledger_events import GiftCatalogued

GIFT_NAME_PATTERN: Final = r"^[a-z0-9][a-z0-9_-]{0,63}(?!\n)$"
GiftName = Annotated[str, Meta(pattern=GIFT_NAME_PATTERN)]


class GiftTerms(Struct, frozen=True, forbid_unknown_fields=True):
    """What the catalogue says of one gift."""

    gift: GiftName
    name: Annotated[str, Meta(min_length=1, max_length=80)]
    coins: Annotated[int, Meta(ge=1, le=limits.GIFT_PRICE_COINS_MAX)]
    tier: Annotated[int, Meta(ge=1, le=3)] = 1
    animation: Annotated[str, Meta(max_length=80)] = ""
    """What a client plays; by default named like the gift."""
    combo: bool = True
    """Whether taps in quick succession count up."""
    host_share_percent: Annotated[int, Meta(ge=0, le=100)] = 50
    """Of the price, rounded down; the rest is the house's."""
    offered: bool = True
    """False: it is not sold any more."""


class PricedGift(Struct, frozen=True):
    """Terms, and which version of them."""

    version: int
    terms: GiftTerms


def priced_of(data: GiftCatalogued) -> PricedGift:
    """The catalogue entry that an event made; :func:`catalogued` is its inverse."""
    terms = GiftTerms(
        gift=data.gift,
        name=data.name,
        coins=data.coins,
        tier=data.tier,
        animation=data.animation,
        combo=data.combo,
        host_share_percent=data.host_share_percent,
        offered=data.offered,
    )
    return PricedGift(data.version, terms)


def catalogued(priced: PricedGift, by: str) -> GiftCatalogued:
    """The event that announces a catalogue entry."""
    terms = priced.terms
    return GiftCatalogued(
        gift=terms.gift,
        version=priced.version,
        name=terms.name,
        coins=terms.coins,
        tier=terms.tier,
        animation=terms.animation or terms.gift,
        combo=terms.combo,
        host_share_percent=terms.host_share_percent,
        by=by,
        offered=terms.offered,
    )


def host_share(terms: GiftTerms, coins: int) -> int:
    """Coins of a payment that the host earns."""
    return coins * terms.host_share_percent // 100
