"""Moderation: what happens to a comment's text before anyone sees it. Pluggable."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, Protocol

Verdict = Literal["allow", "hold", "deny"]


@dataclass(frozen=True)
class Judgement:
    """A verdict and, when it is not `allow`, why."""

    verdict: Verdict
    reason: str = ""


ALLOWED = Judgement("allow")


class Moderator(Protocol):
    """Judges a text. Pure and quick: it runs in the room processor, once per comment."""

    def judge(self, text: str) -> Judgement:
        """Allow, hold for review, or deny."""
        ...


class WordList:
    """The default moderator: whole words, case-folded; deny wins over hold.

    Zero-width characters are taken out first: they are the cheapest way round a word list.
    """

    _ZERO_WIDTH = dict.fromkeys(map(ord, "\u200b\u200c\u200d\u2060\ufeff"))

    def __init__(self, deny: Iterable[str] = (), hold: Iterable[str] = ()) -> None:
        self._deny = self._pattern(deny)
        self._hold = self._pattern(hold)

    @staticmethod
    def _pattern(words: Iterable[str]) -> re.Pattern[str] | None:
        parts = sorted({re.escape(word.casefold()) for word in words if word.strip()})
        return re.compile(r"(?<!\w)(?:" + "|".join(parts) + r")(?!\w)") if parts else None

    def judge(self, text: str) -> Judgement:
        """Deny, hold or allow by the lists."""
        if self._deny is None and self._hold is None:
            return ALLOWED
        folded = text.translate(self._ZERO_WIDTH).casefold()
        if self._deny is not None and self._deny.search(folded):
            return Judgement("deny", "word_denied")
        if self._hold is not None and self._hold.search(folded):
            return Judgement("hold", "word_held")
        return ALLOWED
