"""What the ledger tells of its decisions: to the world, to the room, to the battle.

Pure and total: the same decision tells the same bytes again, so a repeat after a crash is known
by its ids, or by its entry.
"""

from msgspec import UNSET, Struct, UnsetType, field

from engagement.domain import ledger, requests
from engagement.domain import ledger_requests as asks
from engagement.domain.battle_requests import (
    BattleAsked,
    BattleContribute,
    BattleMarked,
    Contribution,
    Mark,
)
from engagement.domain.catalogue import catalogued
from engagement.domain.envelope import Accepted
from engagement.domain.events import SubjectFact, rfc3339
from engagement.domain.ledger import Decision, Payment, Transfer
from engagement.domain.ledger_events import (
    GiftRefused,
    HoldPlaced,
    HoldResolved,
    TransferPosted,
    TransferRefused,
)
from engagement.domain.names import derived_id
from engagement.domain.requests import GiftSend


class Told(Struct):
    """What one decision gives to others."""

    facts: list[SubjectFact] = field(default_factory=list)
    """For `live.ledger.v1` and `live.catalogue.v1`, by `TOPIC_OF_TYPE`."""
    room: Accepted | None = None
    """For `live.requests.v1`; its anchor is that of the money request (`Decision.asked`)."""
    battle: BattleAsked | None = None
    """For `live.battle-requests.v1`."""


def entry_name(partition: int, entry: int) -> str:
    """How an entry is called outside."""
    return f"{partition}-{entry}"


def tell(partition: int, decision: Decision, battle: str = "") -> Told:
    """Everything that follows from a decision.

    `battle`: the one that has taken the room of a gift. Money does not depend on it.
    """
    told = Told()
    asked = decision.asked
    if isinstance(asked.request, asks.BattleMark):
        target = asked.request.data
        mark = BattleMarked(
            id=asked.request.id, data=Mark(partition, target.partitions, target.barrier)
        )
        told.battle = BattleAsked(target.battle, "ledger", "service", asked.at_us, mark)
        return told
    told.facts.extend(_transfers(partition, decision))
    told.facts.extend(_holds(decision))
    if decision.catalogued is not None:
        told.facts.append(_catalogued(decision))
    if decision.code:
        told.facts.append(_refused(partition, decision))
    told.room = _room_request(partition, decision, battle)
    if isinstance(asked.request, GiftSend) and decision.payment is not None and battle:
        told.battle = _contribution(partition, decision, decision.payment, battle)
    return told


def _fact(
    decision: Decision, kind: str, data: object, *about: str | int, account: str | None = None
) -> SubjectFact:
    asked = decision.asked
    subject = asked.account if account is None else account
    return SubjectFact(
        kind=kind,
        id=derived_id(kind, subject, *about),
        collection="accounts",
        subject=subject,
        at_us=asked.at_us,
        data=data,
        actor=asked.actor,
        cause=asked.request.id,
        traceparent=asked.traceparent,
    )


def _transfers(partition: int, decision: Decision) -> list[SubjectFact]:
    return [
        _transfer(partition, decision, line, transfer)
        for line, transfer in enumerate(decision.transfers, start=1)
    ]


def _transfer(partition: int, decision: Decision, line: int, transfer: Transfer) -> SubjectFact:
    asked, payment = decision.asked, decision.payment
    name = f"{entry_name(partition, decision.entry)}.{line}"
    reverses: str | UnsetType = UNSET
    if decision.reverses is not None:
        reverses = entry_name(partition, decision.reverses[1].entry)
    data = TransferPosted(
        transfer=name,
        debit=transfer.debit,
        credit=transfer.credit,
        coins=transfer.coins,
        request=asked.request.id,
        reason=transfer.reason,
        room=UNSET if payment is None else payment.room,
        gift=UNSET if payment is None else payment.gift,
        count=UNSET if payment is None else payment.count,
        reverses=reverses,
    )
    return _fact(decision, "transfer.posted", data, name)


def _holds(decision: Decision) -> list[SubjectFact]:
    told: list[SubjectFact] = []
    for hold in decision.holds:
        about = (hold.hold, hold.status)
        if hold.status == "pending":
            expires = rfc3339(hold.expires_us)
            placed = HoldPlaced(hold.hold, hold.account, hold.to, hold.coins, expires)
            told.append(_fact(decision, "hold.placed", placed, *about, account=hold.account))
        else:
            resolved = HoldResolved(hold.hold, hold.account, hold.coins, hold.status)
            told.append(_fact(decision, "hold.resolved", resolved, *about, account=hold.account))
    return told


def _catalogued(decision: Decision) -> SubjectFact:
    priced, asked = decision.catalogued, decision.asked
    assert priced is not None  # noqa: S101 - the caller has looked
    return SubjectFact(
        kind="gift.catalogued",
        id=derived_id("gift.catalogued", priced.terms.gift, priced.version),
        collection="gifts",
        subject=priced.terms.gift,
        at_us=asked.at_us,
        data=catalogued(priced, asked.actor),
        actor=asked.actor,
        cause=asked.request.id,
    )


def _refused(partition: int, decision: Decision) -> SubjectFact:
    asked, request = decision.asked, decision.asked.request
    about = (request.id, decision.code, ledger.fingerprint(asked).hex())
    if isinstance(request, GiftSend):
        order = request.data
        gift = GiftRefused(request.id, order.gift, order.count, decision.code, asked.room)
        return _fact(decision, "gift.refused", gift, *about)
    kind = str(request.__struct_config__.tag)
    refused = TransferRefused(request.id, kind, decision.code)
    return _fact(decision, "transfer.refused", refused, *about)


def _room_request(partition: int, decision: Decision, battle: str) -> Accepted | None:
    request = decision.asked.request
    if isinstance(request, GiftSend):
        if decision.code:
            order = request.data
            unpaid = requests.UnpaidGift(order.gift, order.count, decision.code)
            return _accepted(decision, requests.GiftUnpaid(id=request.id, data=unpaid))
        if decision.payment is not None:
            return _accepted(decision, _paid(partition, decision, decision.payment, battle))
    if isinstance(request, asks.GiftReverse) and decision.payment is not None:
        payment = decision.payment
        taken = requests.ReversedGift(
            gift=request.data.gift,
            coins=payment.coins,
            earned=payment.earned,
            to=payment.to,
            sent_us=0 if decision.reverses is None else decision.reverses[1].at_us,
            ledger=partition,
            entry=decision.entry,
            reason=request.data.reason,
            count=payment.count,
        )
        return _accepted(
            decision, requests.GiftTakenBack(id=request.id, data=taken), room=payment.room
        )
    return None


def _paid(partition: int, decision: Decision, payment: Payment, battle: str) -> requests.GiftPaid:
    terms, request = decision.terms, decision.asked.request
    assert terms is not None and isinstance(request, GiftSend)  # noqa: S101 - it was paid
    paid = requests.PaidGift(
        gift=payment.gift,
        name=terms.name,
        tier=terms.tier,
        animation=terms.animation or terms.gift,
        count=payment.count,
        unit_price=payment.unit_price,
        coins=payment.coins,
        earned=payment.earned,
        to=payment.to,
        ledger=partition,
        entry=decision.entry,
        combos=terms.combo,
        combo=request.data.combo,
        battle=battle or UNSET,
    )
    return requests.GiftPaid(id=request.id, data=paid)


def _accepted(
    decision: Decision, request: requests.Request, room: str | None = None
) -> Accepted | None:
    asked = decision.asked
    where = asked.room if room is None else room
    if not where:
        return None
    return Accepted(
        room=where,
        actor=asked.account,
        role="viewer",
        at_us=asked.at_us,
        request=request,
        session=asked.session,
        traceparent=asked.traceparent,
    )


def _contribution(partition: int, decision: Decision, payment: Payment, battle: str) -> BattleAsked:
    asked = decision.asked
    data = Contribution(
        gift=asked.request.id,
        room=payment.room,
        actor=asked.account,
        coins=payment.coins,
        ledger=partition,
        entry=decision.entry,
    )
    request = BattleContribute(id=asked.request.id, data=data)
    return BattleAsked(battle, asked.account, "viewer", asked.at_us, request)
