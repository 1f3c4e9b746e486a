"""The cyclic garbage collector of processes that make and drop many small objects."""

import gc

_YOUNG_OBJECTS = 100_000
_MIDDLE_ROUNDS = 50
_OLD_ROUNDS = 1_000
"""With Python's defaults a join flood makes it scan every live socket hundreds of times a second
(fan-out p99 303 ms -> 14 ms), and a fold walks over the facts in its hands again and again (a
rebuild 8.2 s -> 7.0 s); nearly all garbage here is freed by reference counts."""


def collect_rarely() -> None:
    """What is there after start-up lives for ever: the collector need not look at it again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS, _MIDDLE_ROUNDS, _OLD_ROUNDS)
