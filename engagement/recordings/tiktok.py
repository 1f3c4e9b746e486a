"""TikTok frames as the public clients record them; `create_time_ms` is the platform's clock."""

from collections.abc import Callable, Iterable
from typing import Any, Final

from engagement.recordings.battles import BattleFrame
from engagement.recordings.gifts import PIECES_PER_ROW_MAX, RecordedGift
from engagement.recordings.rows import (
    NoEventError,
    Row,
    SkippedRowError,
    actor_of,
    count_of,
    number_of,
    price_of,
    text_of,
    time_us,
)

JOINED: Final = 1
"""`action` of a member frame: 1 is joining, others are follows and shares."""
STREAKABLE: Final = 1
"""`type` of a gift: taps on it make a streak, whose frames count up and are closed by one more.
Any other is told by one frame."""
NO_GROUP: Final = "0"
"""`group_id` of what belongs to no streak."""
BATTLE_ENDED: Final = 5
"""`action` of a battle frame: 4 is its beginning."""
ID_CHARS_MAX: Final = 40
SCORE_MAX: Final = 2**53 - 1


def parse_tiktok(line: int, value: dict[str, Any]) -> Iterable[Row]:
    """One frame; counts of viewers, which we derive ourselves, are skipped."""
    kind = value.get("type")
    if kind == "WebcastRoomUserSeqMessage":
        raise NoEventError("viewer_count_is_derived")
    parse = _PARSERS.get(kind) if isinstance(kind, str) else None
    if parse is None:
        raise SkippedRowError("unknown_type")
    common: dict[str, Any] = {
        "line": line,
        "sent_us": time_us(value, "create_time_ms", 1000),
        "source_id": str(value.get("msg_id") or ""),
        "source_room": str(value.get("room_id") or ""),
    }
    return [parse(value, common)]


def _chat(value: dict[str, Any], common: dict[str, Any]) -> Row:
    return Row(kind="comment", user=actor_of(value), text=text_of(value, "text"), **common)


def _like(value: dict[str, Any], common: dict[str, Any]) -> Row:
    # `count` is this frame's own taps; `total` sums the room's, ours included.
    return Row(kind="like", user=actor_of(value), count=count_of(value, "count"), **common)


def _member(value: dict[str, Any], common: dict[str, Any]) -> Row:
    user = actor_of(value)
    if value.get("action", JOINED) != JOINED:
        raise NoEventError("member_action_is_no_join")
    return Row(kind="join", user=user, **common)


def _gift(value: dict[str, Any], common: dict[str, Any]) -> Row:
    about = value.get("gift")
    about = about if isinstance(about, dict) else {}
    number = value.get("gift_id", about.get("id"))
    if isinstance(number, bool) or not isinstance(number, int | str) or not _is_id(str(number)):
        raise SkippedRowError("no_gift_id")
    name = about.get("name")
    group = str(value.get("group_id") or NO_GROUP)
    # Left out by exporters that leave out what is not set.
    counted = bool(value.get("repeat_count"))
    gift = RecordedGift(
        gift=f"tiktok-{number}",
        name=name[:80] if isinstance(name, str) and name.strip() else f"Gift {number}"[:80],
        unit_price=price_of(about, "diamonds"),
        count=count_of(value, "repeat_count", PIECES_PER_ROW_MAX) if counted else 1,
        cumulative=about.get("type", STREAKABLE) == STREAKABLE,
        streak=group if group != NO_GROUP and _is_id(group) else "",
        closes=bool(value.get("repeat_end")),
    )
    return Row(kind="gift", user=actor_of(value), gift=gift, **common)


def _battle(value: dict[str, Any], common: dict[str, Any]) -> Row:
    """The beginning or the end of a battle. Its results do not say whose they are."""
    setting = value.get("setting")
    setting = setting if isinstance(setting, dict) else {}
    frame = BattleFrame(
        battle=_battle_id(value),
        started_us=time_us(setting, "2", 1000) if "2" in setting else 0,
        duration_s=count_of(setting, "3") if setting.get("3") else 0,
        ended=value.get("action") == BATTLE_ENDED,
        own=str(value.get("host") or ""),
    )
    return Row(kind="battle", user="", battle=frame, **common)


def _armies(value: dict[str, Any], common: dict[str, Any]) -> Row:
    """The scores of a battle so far."""
    armies = value.get("armies")
    scores: dict[str, int] = {}
    for army in armies if isinstance(armies, list) else ():
        if not isinstance(army, dict):
            raise SkippedRowError("bad_armies")
        score = number_of(army, "host_score") if "host_score" in army else 0
        if not 0 <= score <= SCORE_MAX:
            raise SkippedRowError("bad_host_score")
        scores[text_of(army, "anchor")] = int(score)
    if len(scores) < 2:
        raise SkippedRowError("bad_armies")
    frame = BattleFrame(_battle_id(value), scores, own=str(value.get("host") or ""))
    return Row(kind="battle", user="", battle=frame, **common)


def _battle_id(value: dict[str, Any]) -> str:
    battle = str(value.get("battle_id") or "")
    if not _is_id(battle):
        raise SkippedRowError("bad_battle_id")
    return battle


def _is_id(text: str) -> bool:
    """Whether this may be one of the platform's ids, which are numbers."""
    return text.isascii() and text.isalnum() and len(text) <= ID_CHARS_MAX


_PARSERS: Final[dict[str, Callable[[dict[str, Any], dict[str, Any]], Row]]] = {
    "WebcastChatMessage": _chat,
    "WebcastLikeMessage": _like,
    "WebcastMemberMessage": _member,
    "WebcastGiftMessage": _gift,
    "WebcastLinkMicBattle": _battle,
    "WebcastLinkMicArmies": _armies,
}
