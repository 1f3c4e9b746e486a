"""Every paid gift once in its room, every reversal once, every contribution once in its battle.

The ledger decides, the outbox tells, rooms and battles record. What is under way is waited for.
"""

import asyncio
import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct, field

from engagement.domain import limits
from engagement.domain.battle_events import BattleInvited, BattleStarted
from engagement.domain.battle_rules import RULES
from engagement.domain.events import BATTLE_TOPIC, ROOM_TOPIC, RawFact, unix_us
from engagement.domain.ledger import Decision, Payment
from engagement.domain.ledger_requests import GiftReverse
from engagement.domain.ledger_telling import entry_name
from engagement.domain.requests import GiftSend
from engagement.log.codec import PoisonError, decode_data, decode_raw
from engagement.log.reader import LogReader
from engagement.verification.difference import Difference, first
from engagement.verification.told_facts import TopicText

_RECORDS_PER_FETCH: Final = 4_000
_LOOK_AGAIN_S: Final = 0.2


class _Expected(Struct):
    """Something that has to be told once."""

    partition: int
    """Of the request that it follows from."""
    offset: int
    digest: bytes
    """Of all that it has to say. Not the whole: there may be millions."""
    event: str = ""
    """The event that said it."""
    battle: str = ""


def _digest(*says: object) -> bytes:
    return hashlib.blake2b(msgspec.json.encode(says), digest_size=16).digest()


class Sums(Struct):
    """Coins, added up along the way from wallet to battle."""

    gifts: int = 0
    paid: int = 0
    reversed: int = 0
    earned: int = 0
    """By hosts, reversals taken off."""
    sent: int = 0
    """By `gift.sent` in rooms."""
    taken_back: int = 0
    """By `gift.reversed` in rooms."""
    contributed: int = 0
    """Coins of gifts that scored."""
    late: int = 0
    """Coins of gifts to a battle that did not score."""
    points: int = 0


class PaidGifts:
    """What the ledger's decisions let rooms and battles expect."""

    def __init__(self) -> None:
        self.sums = Sums()
        self.rooms = _Topic(ROOM_TOPIC)
        self.battles = _Topic(BATTLE_TOPIC)

    def expect(self, partition: int, offset: int, decision: Decision) -> None:
        """Remember what a decision has to make elsewhere."""
        asked, payment = decision.asked, decision.payment
        if payment is None:
            return
        transfer = entry_name(partition, decision.entry)
        if isinstance(asked.request, GiftReverse):
            self.sums.reversed += payment.coins
            self.sums.earned -= payment.earned
            says = _reversal(payment, asked.request.id, asked.account, asked.request.data.gift)
            self.rooms.expect(transfer, _Expected(partition, offset, says))
            return
        self.sums.gifts += 1
        self.sums.paid += payment.coins
        self.sums.earned += payment.earned
        if not isinstance(asked.request, GiftSend):
            return
        gift = _gift(payment, asked.request.id, asked.account, asked.battle)
        self.rooms.expect(transfer, _Expected(partition, offset, gift))
        if asked.battle:
            says = _digest(asked.battle, payment.room, asked.request.id, payment.coins)
            told = _Expected(partition, offset, says, battle=asked.battle)
            self.battles.expect(transfer, told)


def _gift(payment: Payment, request: str, actor: str, battle: str) -> bytes:
    return _digest(
        payment.room, request, actor, payment.gift, payment.count, payment.unit_price,
        payment.coins, payment.earned, payment.to, battle,
    )  # fmt: skip


def _reversal(payment: Payment, request: str, actor: str, gift: str) -> bytes:
    return _digest(
        payment.room, request, actor, gift, payment.coins, payment.earned, payment.to, "reversed"
    )


class _Topic:
    """What has to be in a topic, once each, and what of it has been seen."""

    def __init__(self, topic: str) -> None:
        self.name = topic
        self._expected: dict[str, _Expected] = {}
        self._unseen = 0

    def expect(self, transfer: str, expected: _Expected) -> None:
        """`transfer` names it."""
        self._expected[transfer] = expected
        self._unseen += 1

    @property
    def unseen(self) -> int:
        """What is missing still."""
        return self._unseen

    def forget(self, without: "set[str]") -> None:
        """Nothing is told of battles that never were."""
        for transfer, expected in list(self._expected.items()):
            if not expected.event and expected.battle not in without:
                del self._expected[transfer]
                self._unseen -= 1

    def see(
        self, transfer: str, event: str, says: bytes, place: tuple[int, int], known_end: int
    ) -> tuple[bool, Difference | None]:
        """Whether this is news, and what is wrong with it."""
        partition, offset = place
        expected = self._expected.get(transfer)
        if expected is None:
            if offset >= known_end:
                return False, None  # Of a gift that was paid after the snapshot.
            what = f"{event} tells transfer {transfer}, which follows from no request"
            return False, Difference(self.name, partition, offset, what)
        if expected.digest != says:
            what = f"{event} says something else than transfer {transfer} (at offset {offset})"
            return False, self._different(expected, what)
        if expected.event == event:
            return False, None  # A repeat after a crash.
        if expected.event:
            what = f"transfer {transfer} is told by {expected.event} and by {event}"
            return False, self._different(expected, what)
        expected.event = event
        self._unseen -= 1
        return True, None

    def missing(self) -> Difference | None:
        """The first that nobody has told."""
        return first(
            self._different(
                expected, f"transfer {transfer} was not told within {limits.VERIFY_WAIT_S} s"
            )
            for transfer, expected in self._expected.items()
            if not expected.event
        )

    def _different(self, expected: _Expected, what: str) -> Difference:
        return Difference(self.name, expected.partition, expected.offset, what)


class _Battle(Struct):
    """What of a battle its points follow from."""

    invited: BattleInvited | None = None
    started: BattleStarted | None = None
    totals: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    ended: str = ""
    """The event."""


class GiftWatch:
    """Reads rooms and battles until everything that was paid has arrived there."""

    def __init__(
        self,
        gifts: PaidGifts,
        texts: Mapping[str, Mapping[int, TopicText]],
        tell: Callable[[int], None],
    ) -> None:
        self._gifts = gifts
        self._texts = texts
        self._tell = tell
        self._battles: dict[str, _Battle] = {}
        self.records = 0

    async def rooms(self, reader: LogReader) -> Difference | None:
        """Every gift and every reversal is in its room, once, and nothing else is."""
        return await self._read(reader, self._gifts.rooms, self._take_room_fact)

    async def battles(self, reader: LogReader) -> Difference | None:
        """Every gift to a battle has scored or was late, once; the points are as the rule says."""
        return await self._read(reader, self._gifts.battles, self._take_battle_fact)

    async def _read(self, reader: LogReader, topic: _Topic, take: Any) -> Difference | None:
        texts = self._texts[topic.name]
        await reader.assign(dict.fromkeys(texts, 0))
        ends = {number: text.end for number, text in texts.items()}
        loop = asyncio.get_running_loop()
        until_s = loop.time() + limits.VERIFY_WAIT_S
        while True:
            async for records in reader.read_to(ends, _RECORDS_PER_FETCH):
                self.records += len(records)
                self._tell(self.records)
                for record in records:
                    difference = take(record, texts[record.partition].known_end)
                    if difference is not None:
                        return difference  # type: ignore[no-any-return]
            if topic is self._gifts.battles:
                topic.forget(without={name for name, each in self._battles.items() if each.invited})
            if not topic.unseen or loop.time() > until_s:
                return topic.missing()
            await asyncio.sleep(_LOOK_AGAIN_S)
            ends = await reader.ends(len(texts))

    def _take_room_fact(self, record: Any, known_end: int) -> Difference | None:
        raw = _read(record.value)
        if raw is None or raw.type not in ("gift.sent", "gift.reversed"):
            return None
        data, sums = decode_data(raw), self._gifts.sums
        if not data.transfer:
            return None  # Of a recording.
        place = (record.partition, record.offset)
        if raw.type == "gift.reversed":
            says = _digest(
                raw.roomid, raw.causationid, raw.actorid, data.request, data.coins, data.earned,
                data.to, "reversed",
            )  # fmt: skip
        else:
            says = _digest(
                raw.roomid, raw.causationid, raw.actorid, data.gift, data.count, data.unit_price,
                data.coins, data.earned, data.to, data.battle or "",
            )  # fmt: skip
        is_new, difference = self._gifts.rooms.see(data.transfer, raw.id, says, place, known_end)
        if is_new and raw.type == "gift.sent":
            sums.sent += data.coins
        elif is_new:
            sums.taken_back += data.coins
        return difference

    def _take_battle_fact(self, record: Any, known_end: int) -> Difference | None:
        raw = _read(record.value)
        if raw is None or not raw.battleid:
            return None
        battle = self._battles.setdefault(raw.battleid, _Battle())
        place = (record.partition, record.offset)
        if raw.type == "battle.invited":
            battle.invited = decode_data(raw)
        elif raw.type == "battle.started":
            battle.started = decode_data(raw)
        elif raw.type in ("battle.contributed", "battle.contribution.late"):
            return self._contribution(battle, raw, place, known_end)
        elif raw.type == "battle.ended":
            return self._ended(battle, raw, place)
        return None

    def _contribution(
        self, battle: _Battle, raw: RawFact, place: tuple[int, int], known_end: int
    ) -> Difference | None:
        data, sums = decode_data(raw), self._gifts.sums
        says = _digest(raw.battleid, data.room, data.gift, data.coins)
        is_new, difference = self._gifts.battles.see(data.transfer, raw.id, says, place, known_end)
        if not is_new:
            return difference
        if raw.type == "battle.contribution.late":
            sums.late += data.coins
            return None
        sums.contributed += data.coins
        sums.points += data.points
        battle.totals[data.room] += data.points
        return next(_wrong_points(battle, raw, data, place), None)

    def _ended(self, battle: _Battle, raw: RawFact, place: tuple[int, int]) -> Difference | None:
        if battle.ended == raw.id:
            return None
        partition, offset = place
        if battle.ended:
            what = f"{raw.battleid} ended by {battle.ended} and by {raw.id}"
            return Difference(BATTLE_TOPIC, partition, offset, what)
        battle.ended = raw.id
        totals = {room: points for room, points in decode_data(raw).totals.items() if points}
        summed = {room: points for room, points in battle.totals.items() if points}
        if totals != summed:
            what = f"{raw.battleid} ended at {totals}, its contributions make {summed}"
            return Difference(BATTLE_TOPIC, partition, offset, what)
        return None


def _wrong_points(
    battle: _Battle, raw: RawFact, data: Any, place: tuple[int, int]
) -> Iterator[Difference]:
    if battle.invited is None or battle.started is None:
        yield Difference(BATTLE_TOPIC, *place, f"{raw.battleid} scored before it started")
        return
    since_us = unix_us(raw.time) - unix_us(battle.started.started)
    points = RULES[battle.invited.rule](data.coins, since_us, battle.invited.windows)
    if points != data.points:
        what = f"transfer {data.transfer} scored {data.points} points, the rule says {points}"
        yield Difference(BATTLE_TOPIC, *place, what)


def _read(value: bytes | None) -> RawFact | None:
    try:
        return decode_raw(value)
    except PoisonError:
        return None  # Not ours: whoever reads it has put it into the dead letters.
