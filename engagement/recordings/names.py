"""Names of a platform's people as names of ours."""

import re
from typing import Final
from uuid import UUID, uuid5

from engagement.domain.names import is_actor_id, is_room_id

SOURCE_NAMESPACE: Final = UUID("8d0f5d2e-51a6-5e1b-9c57-3f2e0f6f6a11")


def actor_name(name: str) -> str:
    """The platform's own name where it may be one of ours, else one that derives from it."""
    if is_actor_id(name):
        return name
    readable = re.sub(r"[^A-Za-z0-9_.-]+", "-", name)[:40].strip("-")
    return f"{readable or 'user'}~{uuid5(SOURCE_NAMESPACE, name).hex[:12]}"


def room_name(name: str) -> str:
    """The same for a room."""
    if is_room_id(name):
        return name
    return f"room~{uuid5(SOURCE_NAMESPACE, name).hex[:12]}"
