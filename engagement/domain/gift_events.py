"""What a room tells of gifts: each tap is its own paid event, a combo is display only."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

Transfer = Annotated[str, Meta(pattern=r"^(recorded|[0-9]{1,9})-[0-9]{1,18}(?!\n)$")]


class GiftSent(Struct, frozen=True, omit_defaults=True):
    """A paid gift; `count` is what this tap adds, never a running total."""

    gift: str
    name: str
    """What the catalogue called it when it was paid."""
    tier: int
    """1 small, 2 medium, 3 large: how much of the screen its animation takes."""
    animation: str
    count: int
    unit_price: int
    coins: int
    """`count` x `unit_price`: what the sender paid."""
    earned: int
    """Coins of these that the host was credited with; the rest is the house's."""
    to: str
    transfer: Transfer
    """The ledger entry that paid it, `<partition>-<entry>`; of a gift in an imported recording,
    `recorded-<number>`. In a room they only grow, per partition: what does not is a repeat."""
    session: str
    """The live session of the room."""
    combo: str | UnsetType = UNSET
    combo_name: str | UnsetType = UNSET
    """What the sender's client calls the combo."""
    combo_count: int | UnsetType = UNSET
    """Gifts of this combo so far, this tap included. Display only: sum `count`, never this."""
    battle: str | UnsetType = UNSET
    """The battle that had taken the room when the ledger decided about the gift."""


class GiftComboEnded(Struct, frozen=True):
    """A combo is over. Moves no money; the server always ends a combo."""

    combo: str
    gift: str
    total_count: int
    total_coins: int
    reason: Literal["timeout", "client", "room_closed"]


class GiftReversed(Struct, frozen=True):
    """A paid gift was taken back by a compensating transfer; nothing is deleted."""

    request: str
    """The request, and thereby the `gift.sent`, that is reversed."""
    coins: int
    earned: int
    to: str
    transfer: Transfer
    session: str
    """The live session that the gift was sent in; empty when it is not the present one."""
    sent: str
    """When the gift was accepted, RFC 3339."""
    reason: str
    count: int = 1
    """Pieces of it."""
