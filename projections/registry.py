"""All projections of the room topic, by name."""

from typing import Final

from projections.comments import CommentsProjection
from projections.likes import LikesProjection
from projections.presence import PresenceProjection
from projections.projection import Projection
from projections.rooms import RoomsProjection
from projections.timeline import TimelineProjection

PROJECTIONS: Final[tuple[Projection, ...]] = (
    TimelineProjection(),
    CommentsProjection(),
    PresenceProjection(),
    LikesProjection(),
    RoomsProjection(),
)


def named(name: str | None) -> tuple[Projection, ...]:
    """The projection of this name, or all. Raises KeyError for an unknown name."""
    if name is None:
        return PROJECTIONS
    found = tuple(projection for projection in PROJECTIONS if projection.name == name)
    if not found:
        raise KeyError(name)
    return found
