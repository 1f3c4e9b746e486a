"""The judge of money: says which promises were broken.

It shares no code with the product: what it knows are the outside contract, the public names of
topics and event types, and what the run itself asked for. `tests.faults.checker` calls it for runs
that had gifts.
"""

from collections import Counter

from . import checks_battles, checks_gifts, checks_ledger
from .evidence import Anomaly, MoneyEvidence

CHECKS = (*checks_gifts.CHECKS, *checks_ledger.CHECKS, *checks_battles.CHECKS)


def anomalies(evidence: MoneyEvidence) -> list[Anomaly]:
    """Everything that is wrong."""
    return [anomaly for check in CHECKS for anomaly in check(evidence)]


def looked_at(evidence: MoneyEvidence) -> dict[str, int]:
    """How much evidence there is: a run that paid nothing proves nothing."""
    gifts = evidence.gifts.values()
    sent = evidence.of_rooms["gift.sent"]
    refused = Counter(fact.data["code"] for fact in evidence.of_ledger["gift.refused"])
    return {
        "gifts": len(evidence.gifts),
        "gifts_sent_more_than_once": sum(gift.tries > 1 for gift in gifts),
        "gifts_acknowledged": sum(gift.acknowledged for gift in gifts),
        "gifts_told_their_outcome": sum(bool(gift.told) for gift in gifts),
        "gifts_paid": len(sent),
        "coins_paid": sum(fact.data["coins"] for fact in sent),
        "gifts_refused": refused["insufficient_funds"],
        "other_bodies_sent": len(evidence.run.altered_told.keys() & evidence.gifts.keys()),
        "other_bodies_refused_by_the_ledger": refused["id_reused"],
        "transfers": len(evidence.of_ledger["transfer.posted"]),
        "wallets": len(evidence.wallets),
        "deposits": len(evidence.deposits),
        "battles_started": len(evidence.of_battles["battle.started"]),
        "battles_ended": len(evidence.of_battles["battle.ended"]),
        "gifts_that_scored": len(evidence.of_battles["battle.contributed"]),
        "gifts_too_late_for_a_battle": len(evidence.of_battles["battle.contribution.late"]),
        "scores_told": len(evidence.of_rooms["battle.scored"]),
    }
