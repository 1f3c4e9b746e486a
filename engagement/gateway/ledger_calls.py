"""Rare requests about money over HTTP: written to the log, then their outcome is read in SQL.

A call is answered when the ledger has decided. Repeating one with the same id and body changes
nothing and is answered as the first was; so whoever got no answer asks again with the same id.
"""

import asyncio
from typing import Final

from msgspec import Struct

from engagement.domain import limits
from engagement.domain.ledger import Settled
from engagement.errors import (
    ConflictError,
    EngagementError,
    ForbiddenError,
    IdReusedError,
    NotFoundError,
    UnavailableError,
)
from engagement.gateway.intake import Submission
from engagement.gateway.money_bodies import PostedStatus
from engagement.gateway.money_envelopes import MoneyAsk
from engagement.gateway.runtime import Gateway
from engagement.gateway.settlements import body_mark
from engagement.tokens import Principal

_REFUSALS: Final[dict[str, type[EngagementError]]] = {
    "forbidden": ForbiddenError,
    "hold_not_found": NotFoundError,
    "gift_not_found": NotFoundError,
}
"""What is not here is a conflict: the books are in another state than the request supposes."""
_DETAILS: Final = {
    "coins_overflow": "an account would hold more coins than can be counted exactly",
    "insufficient_funds": "the wallet has not as many coins",
    "self_transfer": "coins are held for somebody else, or for the house",
    "hold_not_found": "there is no such hold",
    "hold_posted": "the hold was posted",
    "hold_voided": "the hold was voided",
    "hold_expired": "the hold has expired",
    "gift_not_found": "this account has paid no such gift",
    "gift_already_reversed": "the gift was reversed before",
}


class Posted(Struct, frozen=True):
    """What the ledger made of a request."""

    settled: Settled
    repeated: bool
    """It was decided before it came."""

    @property
    def http_status(self) -> int:
        """201 for the first, 200 for its repeats."""
        return 200 if self.repeated else 201

    @property
    def status(self) -> PostedStatus:
        """How it is told."""
        return "duplicate" if self.repeated else "posted"


def check_backend(principal: Principal) -> None:
    """Raise ForbiddenError for everybody but a platform's own backend and its admins."""
    if principal.role not in ("service", "admin"):
        raise ForbiddenError("only a service or an admin may do this")


async def ask_ledger(gateway: Gateway, ask: MoneyAsk) -> Posted:
    """Have the ledger decide about a request.

    Raises IdReusedError, what the ledger refused it with, or UnavailableError: then it is not
    known what became of it, and the same id may be sent again.
    """
    known = await _look(gateway, ask)
    if known is not None:
        return Posted(known, repeated=True)
    if not gateway.money.has_room():
        raise UnavailableError("the log is behind", code="log_unavailable", retry_after_s=1)
    submission = Submission()
    submission.flushes[gateway.money.put(ask)] = None
    await submission.acknowledged()
    pause_s = limits.SETTLED_POLL_S
    deadline_s = asyncio.get_running_loop().time() + limits.ACK_TIMEOUT_S
    while asyncio.get_running_loop().time() < deadline_s:
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s, limits.SETTLED_POLL_S_MAX)
        known = await _look(gateway, ask)
        if known is not None:
            return Posted(known, repeated=False)
    raise UnavailableError(
        "the ledger does not answer; send the same request again",
        code="ledger_unavailable",
        retry_after_s=2,
    )


async def _look(gateway: Gateway, ask: MoneyAsk) -> Settled | None:
    key = (ask.account, ask.request.id)
    settled = (await gateway.settlements.must_find([key])).get(key)
    if settled is None:
        return None
    if settled.fingerprint != body_mark(ask.account, ask.room, ask.request):
        raise IdReusedError("this id was used before for another request")
    if settled.status == "refused":
        kind = _REFUSALS.get(settled.code, ConflictError)
        raise kind(_DETAILS.get(settled.code, settled.code), code=settled.code)
    return settled
