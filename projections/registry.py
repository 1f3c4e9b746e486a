"""All projections of the room topic, by name."""

from collections.abc import Sequence
from typing import Final

from projections.battles import BattlesProjection
from projections.comments import CommentsProjection
from projections.gifts import GiftsProjection
from projections.likes import LikesProjection
from projections.presence import PresenceProjection
from projections.projection import Projection
from projections.rooms import RoomsProjection
from projections.timeline import TimelineProjection

PROJECTIONS: Final[tuple[type[Projection], ...]] = (
    TimelineProjection,
    CommentsProjection,
    PresenceProjection,
    LikesProjection,
    GiftsProjection,
    BattlesProjection,
    RoomsProjection,
)
"""In the order in which every transaction writes them."""


def named(name: str | None) -> Sequence[type[Projection]]:
    """The projection of this name, or all. Raises KeyError for an unknown name."""
    if name is None:
        return PROJECTIONS
    found = [projection for projection in PROJECTIONS if projection.name == name]
    if not found:
        raise KeyError(name)
    return found
