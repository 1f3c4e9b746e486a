"""Key frames: many viewers ask, the publisher is asked seldom. Pure."""

from media.rtp import bounds


class KeyFrameRequests:
    """Coalesces requests: one goes out at once, those that follow wait for one more together."""

    __slots__ = ("_asked_ms", "_is_wanted")

    def __init__(self) -> None:
        self._asked_ms = float("-inf")
        self._is_wanted = False

    def want(self) -> None:
        """Somebody needs a key frame."""
        self._is_wanted = True

    def satisfied(self, now_ms: float) -> None:
        """A key frame has come, which repairs all who asked before it."""
        self._is_wanted = False
        self._asked_ms = max(self._asked_ms, now_ms - bounds.KEY_FRAME_SPACING_MS)

    def is_due(self, now_ms: float) -> bool:
        """Whether to ask the publisher now. Asks again while no key frame comes."""
        if not self._is_wanted or now_ms - self._asked_ms < bounds.KEY_FRAME_SPACING_MS:
            return False
        self._asked_ms = now_ms
        return True
