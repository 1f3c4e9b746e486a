"""Packets that a source has sent and that have not come: when to ask for which again. Pure."""

from media.rtp import bounds


class _Missing:
    __slots__ = ("due_ms", "tries")

    def __init__(self, due_ms: float) -> None:
        self.due_ms = due_ms
        self.tries = 0


class MissingPackets:
    """Bounded in packets and in tries. Numbers are unwrapped."""

    __slots__ = ("_highest", "_missing", "given_up")

    def __init__(self) -> None:
        self._highest: int | None = None
        self._missing: dict[int, _Missing] = {}
        self.given_up = 0
        """Packets that nobody will ask for again."""

    def __len__(self) -> int:
        return len(self._missing)

    def add(self, number: int, now_ms: float) -> bool:
        """A packet has come. False when so many are missing that a key frame is quicker."""
        if self._highest is None:
            self._highest = number
        elif number <= self._highest:
            self._missing.pop(number, None)
        else:
            first, self._highest = self._highest + 1, number
            if len(self._missing) + number - first > bounds.MISSING_MAX:
                self.given_up += len(self._missing) + number - first
                self._missing.clear()
                return False
            for absent in range(first, number):
                self._missing[absent] = _Missing(now_ms + bounds.NACK_FIRST_MS)
        return True

    def due(self, now_ms: float) -> list[int]:
        """Numbers to ask for now, ascending."""
        due = []
        for number, missing in list(self._missing.items()):
            if missing.due_ms > now_ms:
                continue
            if missing.tries == bounds.NACK_TRIES_MAX:
                del self._missing[number]
                self.given_up += 1
                continue
            missing.tries += 1
            missing.due_ms = now_ms + bounds.NACK_AGAIN_MS
            due.append(number)
        return sorted(due)
