"""The gifts of one POST or one `send` frame, until their outcomes are told."""

import asyncio
from collections.abc import Callable, Sequence
from types import TracebackType

from msgspec import UNSET, Struct
from msgspec.structs import replace

from engagement.domain.ledger import RequestKey
from engagement.gateway import metrics
from engagement.gateway.gifts_intake import GiftsIntake, SentGift
from engagement.gateway.intake import Result
from engagement.gateway.outcomes import Outcome, Waiter


def is_awaited(result: Result) -> bool:
    """Whether what became of this gift is still to be told."""
    return result.status == "accepted" or (result.status == "duplicate" and result.outcome is UNSET)


class Awaited:
    """What a POST with `Prefer: wait` waits for. Use as a context: nobody is told after it."""

    def __init__(self, gifts: GiftsIntake, room: str, sent: Sequence[SentGift]) -> None:
        self._gifts = gifts
        self._room = room
        self._sent = sent
        self._waiters: list[Waiter] = []
        self._left = {each.key for each in sent}
        self._outcomes: dict[RequestKey, Outcome] = {}
        self._all_told = asyncio.Event()

    def __enter__(self) -> "Awaited":
        self._waiters = self._gifts.expect(self._room, self._sent, self._hear)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._gifts.forget(self._waiters)

    async def complete(self, results: Sequence[Result], deadline_s: float) -> list[Result]:
        """The results with their outcomes, as far as these are known at the deadline."""
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        awaited = [each for each in self._sent if is_awaited(results[each.position])]
        self._left = {each.key for each in awaited} - self._outcomes.keys()
        if self._left:
            try:
                async with asyncio.timeout_at(deadline_s):
                    await self._all_told.wait()
            except TimeoutError:
                pass
            else:
                metrics.OUTCOME_SECONDS.observe(loop.time() - began_s)
        completed = list(results)
        for each in awaited:
            outcome = self._outcomes.get(each.key)
            if outcome is not None:
                completed[each.position] = _with_outcome(results[each.position], outcome)
        return completed

    def _hear(self, key: RequestKey, outcome: Outcome) -> None:
        self._outcomes[key] = outcome
        self._left.discard(key)
        if not self._left:
            self._all_told.set()


def _with_outcome(result: Result, outcome: Outcome) -> Result:
    code = outcome.code or UNSET
    if result.status == "duplicate":
        return replace(result, outcome=outcome.status, code=code)
    return replace(result, status=outcome.status, code=code)


class ToldGift(Struct, frozen=True, omit_defaults=True):
    """An entry of an `outcome` frame."""

    id: str
    status: str
    code: str = ""


class ToldOutcomes:
    """What a socket is told of the gifts of one `send`: never before its `ack`, and all that is
    known in one turn of the loop in one frame."""

    def __init__(
        self,
        gifts: GiftsIntake,
        room: str,
        sent: Sequence[SentGift],
        tell: Callable[[list[ToldGift]], None],
    ) -> None:
        self._gifts = gifts
        self._sent = sent
        self._tell = tell
        self._names: dict[RequestKey, str] = {}
        """Ids as their sender wrote them, once it has its `ack`."""
        self._known: list[tuple[RequestKey, Outcome]] = []
        self._scheduled = False
        once = {each.key: each for each in sent}.values()
        self._waiters = {waiter.key: waiter for waiter in gifts.expect(room, once, self._hear)}

    @property
    def done(self) -> bool:
        """Whether there is nothing more to tell."""
        return not self._waiters and not self._known

    def submitted(self, results: Sequence[Result]) -> None:
        """Only what was taken is still of interest."""
        taken = {each.key for each in self._sent if is_awaited(results[each.position])}
        self._known = [each for each in self._known if each[0] in taken]
        for key in self._waiters.keys() - taken:
            self._forget(key)

    def acknowledged(self, results: Sequence[Result]) -> None:
        """The sender has its `ack`."""
        for each in self._sent:
            self._names[each.key] = results[each.position].id or each.gift.id
        self._schedule()

    def end(self) -> None:
        """Tell nothing more."""
        self._known.clear()
        for key in list(self._waiters):
            self._forget(key)

    def _forget(self, key: RequestKey) -> None:
        waiter = self._waiters.pop(key, None)
        if waiter is not None:
            self._gifts.forget([waiter])

    def _hear(self, key: RequestKey, outcome: Outcome) -> None:
        if self._waiters.pop(key, None) is not None:
            self._known.append((key, outcome))
            self._schedule()

    def _schedule(self) -> None:
        if self._names and self._known and not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._scheduled = False
        known, self._known = self._known, []
        if known:
            self._tell([ToldGift(self._names[key], each.status, each.code) for key, each in known])
