"""Paid messages: a gift, and the words that came with it."""

from collections.abc import Iterator
from typing import Any, Final

from engagement.recordings.gifts import RecordedGift
from engagement.recordings.rows import Row, price_of, text_of

GIFT: Final = "super-chat"
AMOUNT_CHARS_MAX: Final = 40


def paid_message(value: dict[str, Any], common: dict[str, Any]) -> Iterator[Row]:
    """The gift, and a comment when there are words.

    The amount is money of many currencies and stays in the gift's name; coins are only what the
    row itself calls so. Neither row bears the clock: paid messages are shown with a delay.
    """
    amount = value.get("amount")
    shown = f" {amount.strip()[:AMOUNT_CHARS_MAX]}" if isinstance(amount, str) else ""
    gift = RecordedGift(GIFT, f"Super Chat{shown}", price_of(value, "coins"), 1)
    yield Row(kind="gift", gift=gift, bears_clock=False, **common)
    if value.get("text"):
        yield Row(kind="comment", text=text_of(value, "text"), bears_clock=False, **common)
