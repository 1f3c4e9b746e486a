"""What the ledger tells, on `live.ledger.v1` and `live.catalogue.v1`: every movement of coins, and
every request that moved none."""

from typing import Literal

from msgspec import UNSET, Struct, UnsetType

TransferReason = Literal["gift", "house_share", "purchase", "promotion", "hold", "reversal"]


class TransferPosted(Struct, frozen=True, omit_defaults=True):
    """Coins went from one account to another. Σ debits = Σ credits, always.

    Accounts are named by their kind: `wallet:<user>`, `earnings:<host>`, `house`, `purchases`
    (where bought coins come from), `promotions` (where given ones come from).
    """

    transfer: str
    """`<partition>-<entry>.<line>`; the lines of one entry are one decision."""
    debit: str
    credit: str
    coins: int
    request: str
    reason: TransferReason
    room: str | UnsetType = UNSET
    gift: str | UnsetType = UNSET
    count: int | UnsetType = UNSET
    reverses: str | UnsetType = UNSET
    """The entry that this one compensates."""


class TransferRefused(Struct, frozen=True):
    """A request about money that moved none. It stays refused: the id never expires."""

    request: str
    request_type: str
    code: str


class GiftRefused(Struct, frozen=True):
    """A gift that was not paid. It stays refused, even after a top-up: send it with a new id."""

    request: str
    gift: str
    count: int
    code: str
    room: str


class HoldPlaced(Struct, frozen=True):
    """Coins of a wallet are set aside until the hold is resolved, once."""

    hold: str
    account: str
    to: str
    coins: int
    expires: str
    """RFC 3339."""


class HoldResolved(Struct, frozen=True):
    """A hold ended: `posted` moved its coins (see `transfer.posted`), the others freed them."""

    hold: str
    account: str
    coins: int
    outcome: Literal["posted", "voided", "expired"]


class GiftCatalogued(Struct, frozen=True):
    """What a gift is called, looks like and costs from here on."""

    gift: str
    version: int
    name: str
    coins: int
    tier: int
    animation: str
    combo: bool
    """Whether taps in quick succession count up."""
    host_share_percent: int
    by: str
    offered: bool = True
    """False: it is not sold any more."""
