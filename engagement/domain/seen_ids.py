"""A bounded memory of request ids: the window in which a repeat is recognised."""

from typing import Generic, TypeVar

V = TypeVar("V")


class SeenIds(Generic[V]):
    """Remembers at least the newest `capacity` ids, and a value beside each.

    Two generations instead of a queue: when the young one is full it becomes the old one, and
    what was old is forgotten. A look-up costs two dictionary probes, eviction nothing.
    """

    __slots__ = ("_capacity", "_old", "_young")

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._young: dict[str, V] = {}
        self._old: dict[str, V] = {}

    def get(self, key: str) -> V | None:
        """The value remembered with this id, or None."""
        value = self._young.get(key)
        return self._old.get(key) if value is None else value

    def add(self, key: str, value: V) -> None:
        """Remember an id; the newest value stands."""
        young = self._young
        young[key] = value
        if len(young) >= self._capacity:
            self._old = young
            self._young = {}

    def discard(self, key: str) -> None:
        """Forget an id whose request did not come to be."""
        self._young.pop(key, None)
        self._old.pop(key, None)

    def __len__(self) -> int:
        return len(self._young) + len(self._old)
