"""The ledger: every coin from where it was bought to who has it."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import pairwise

from tests.faults.evidence import Record

from .evidence import Anomaly, MoneyEvidence, price_of, share_of


def repeats_are_equal(evidence: MoneyEvidence) -> Iterator[Anomaly]:
    """A fact that is written again has the same bytes: nothing is decided twice."""
    for topic in (evidence.ledger, evidence.battle):
        first: dict[str, bytes] = {}
        for record in topic:
            if record.fact is None:
                yield Anomaly("not_a_fact", _at(record), repr(record.body[:100]))
            elif first.setdefault(record.fact.id, record.body) != record.body:
                yield Anomaly("unequal_repeat", record.fact.id, f"again at {_at(record)}")


def transfers_balance(evidence: MoneyEvidence) -> Iterator[Anomaly]:
    """Each line once, no entry missing, never a negative wallet, and all sums to zero."""
    balance: Counter[str] = Counter()
    lines: dict[str, str] = {}
    entries: dict[str, set[int]] = defaultdict(set)
    for fact in evidence.of_ledger["transfer.posted"]:
        data = fact.data
        if data["transfer"] in lines:
            yield Anomaly("transfer_twice", data["transfer"], f"also {lines[data['transfer']]}")
        lines[data["transfer"]] = fact.id
        partition, _, number = data["transfer"].partition("-")
        entries[partition].add(int(number.partition(".")[0]))
        if data["coins"] <= 0:
            yield Anomaly("no_coins", data["transfer"], f"{data['coins']} coins")
        balance[data["debit"]] -= data["coins"]
        balance[data["credit"]] += data["coins"]
        if data["debit"].startswith(("wallet:", "earnings:")) and balance[data["debit"]] < 0:
            yield Anomaly("overdrawn", data["debit"], f"{balance[data['debit']]} coins")
    if sum(balance.values()):
        yield Anomaly("unbalanced", "ledger", f"sums to {sum(balance.values())}")
    for partition, numbers in entries.items():
        for earlier, later in pairwise([0, *sorted(numbers)]):
            if later != earlier + 1:
                yield Anomaly("entry_missing", f"{partition}-{earlier + 1}", f"before {later}")


def refusals_are_right(evidence: MoneyEvidence) -> Iterator[Anomaly]:
    """`insufficient_funds` only where, at that place of the log, there were not enough coins."""
    balance: Counter[str] = Counter()
    seen: set[str] = set()
    for record in evidence.ledger:
        fact = record.fact
        if fact is None or fact.id in seen:
            continue
        seen.add(fact.id)
        if fact.type == "transfer.posted":
            balance[fact.data["debit"]] -= fact.data["coins"]
            balance[fact.data["credit"]] += fact.data["coins"]
        elif fact.type == "gift.refused" and fact.data["code"] == "insufficient_funds":
            gift = evidence.gifts.get(fact.data["request"])
            had = balance[f"wallet:{fact.accountid}"]
            if gift is not None and had >= price_of(gift):
                yield Anomaly("refused_though_rich", gift.id, f"had {had}, asked {price_of(gift)}")


def deposits_are_in_once(evidence: MoneyEvidence) -> Iterator[Anomaly]:
    """What was bought is in the wallet, once; nothing else comes from outside."""
    bought: Counter[str] = Counter()
    for fact in evidence.of_ledger["transfer.posted"]:
        data = fact.data
        if data["reason"] not in ("purchase", "promotion"):
            continue
        bought[data["request"]] += 1
        deposit = evidence.deposits.get(data["request"])
        if deposit is None:
            yield Anomaly("deposit_from_nowhere", data["request"], f"{data['coins']} coins")
        elif (data["credit"], data["coins"]) != (f"wallet:{deposit.account}", deposit.coins):
            yield Anomaly("deposit_changed", deposit.id, f"{data['coins']} to {data['credit']}")
    for deposit in evidence.deposits.values():
        if bought[deposit.id] > 1:
            yield Anomaly("deposit_twice", deposit.id, f"{bought[deposit.id]} times")
        if deposit.told and not bought[deposit.id]:
            yield Anomaly("deposit_lost", deposit.id, f"{deposit.coins} of {deposit.account}")


def what_is_paid_is_sent_and_earned(evidence: MoneyEvidence) -> Iterator[Anomaly]:
    """Debits for a gift = the gift in its room = its host's earnings and the house's share."""
    paid: Counter[str] = Counter()
    earned: Counter[str] = Counter()
    for fact in evidence.of_ledger["transfer.posted"]:
        if fact.data["reason"] in ("gift", "house_share"):
            entry = fact.data["transfer"].rpartition(".")[0]
            paid[entry] += fact.data["coins"]
            if fact.data["credit"].startswith("earnings:"):
                earned[entry] += fact.data["coins"]
    sent: set[str] = set()
    for fact in evidence.of_rooms["gift.sent"]:
        entry = fact.data["transfer"]
        if entry in sent:
            yield Anomaly("entry_sent_twice", entry, f"also by {fact.id}")
        sent.add(entry)
        if (fact.data["coins"], fact.data["earned"]) != (paid[entry], earned[entry]):
            says = f"{fact.data['coins']}/{fact.data['earned']}"
            yield Anomaly("unequal", entry, f"sent {says}, paid {paid[entry]}/{earned[entry]}")
    for entry in paid.keys() - sent:
        yield Anomaly("paid_not_sent", entry, f"{paid[entry]} coins")


def readers_see_the_fold(evidence: MoneyEvidence) -> Iterator[Anomaly]:
    """Wallets, earnings and leaderboards by HTTP are what the requests of the run make."""
    wallets: Counter[str] = Counter()
    earnings: Counter[str] = Counter()
    given: dict[str, Counter[str]] = defaultdict(Counter)
    for deposit in evidence.deposits.values():
        wallets[deposit.account] += deposit.coins if deposit.told else 0
    for fact in evidence.of_rooms["gift.sent"]:
        gift = evidence.gifts.get(fact.causationid)
        if gift is not None:
            coins = price_of(gift)
            wallets[gift.actor] -= coins
            earnings[evidence.hosts_of[gift.room]] += share_of(coins)
            given[gift.room][gift.actor] += coins
    for account, told in evidence.wallets.items():
        if (told["coins"], told["held"]) != (wallets[account], 0):
            yield Anomaly("wrong_wallet", account, f"{told['coins']} told, {wallets[account]} left")
    for host, told in evidence.earnings.items():
        by_day = sum(day["coins"] for day in told.get("days", ()))
        if {told["coins"], by_day} != {earnings[host]}:
            detail = f"{told['coins']} told, {by_day} by day, {earnings[host]} earned"
            yield Anomaly("wrong_earnings", host, detail)
    for room, told in evidence.leaders.items():
        board = {each["actor"]: each["coins"] for each in told["items"]}
        if board != dict(given[room]):
            yield Anomaly("wrong_leaders", room, f"{sum(board.values())} coins told")
        order = [each["coins"] for each in told["items"]]
        if order != sorted(order, reverse=True):
            yield Anomaly("leaders_order", room, "more coins stand behind fewer")


def _at(record: Record) -> str:
    return f"{record.partition}:{record.offset}"


CHECKS = (
    repeats_are_equal,
    transfers_balance,
    refusals_are_right,
    deposits_are_in_once,
    what_is_paid_is_sent_and_earned,
    readers_see_the_fold,
)
