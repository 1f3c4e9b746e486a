"""When a host is delighted: not by every rose in a rain of them. Pure."""

from typing import Any, Final

from engagement.host_video.picture import REACTION_MS, Reaction

LARGE_TIER: Final = 2
CALM_MS: Final = 6_000.0
"""Between the beginnings of two reactions to small gifts. A large one is always worth another."""


def react(last: Reaction | None, event: dict[str, Any], at_ms: float) -> Reaction | None:
    """The reaction to an event that is seen at this media time; None leaves the host as it was."""
    if event["type"] != "gift.sent":
        return None
    pause_ms = REACTION_MS if event["data"]["tier"] >= LARGE_TIER else CALM_MS
    if last is not None and at_ms - last.at_ms < pause_ms:
        return None
    return Reaction(at_ms, f"Thanks {event.get('actorid', '')}!")
