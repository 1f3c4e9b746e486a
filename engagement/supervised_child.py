"""One process that should run: how it is started, and when it may be started again."""

import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog

from engagement import child_process
from engagement.errors import EngagementError
from engagement.process_logs import readable

log = structlog.get_logger()

RESTART_AFTER_S: Final = 0.3
RESTART_AFTER_S_MAX: Final = 5.0
YOUNG_S: Final = 5.0
"""A process that dies younger than this waits twice as long for its next start."""
WILL_NOT_HELP: Final = 78
"""Exit code (`EX_CONFIG`) of a process whose settings are wrong: it is not started again."""


class SupervisedChild:
    """A process and the right to start it again."""

    def __init__(
        self,
        name: str,
        *,
        start: Callable[[], subprocess.Popen[bytes]],
        stop: Callable[[subprocess.Popen[bytes] | None], None],
        log_file: Path,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.log_file = log_file
        self.abandoned = False
        self.process: subprocess.Popen[bytes] | None = None
        self._start, self._stop, self._clock = start, stop, clock
        self._started_at_s = 0.0
        self._restart_at_s: float | None = None
        self._delay_s = 0.0

    @property
    def runs(self) -> bool:
        """Whether there is a process that has not ended."""
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        """Start it. Raises OSError or an EngagementError when that fails."""
        self.process = self._start()
        self._started_at_s = self._clock()
        self._restart_at_s = None

    def stop(self) -> None:
        """End it and wait for its end."""
        self._stop(self.process)

    def last_words(self) -> str:
        """Why it ended, as far as its log tells."""
        code = None if self.process is None else self.process.poll()
        line = child_process.last_line(self.log_file)
        said = readable(self.name, line, everything=True) or "it said nothing"
        return f"{self.name} ended with code {code}: {said.removeprefix(f'{self.name} | ')}"

    def watch(self) -> bool:
        """Notice a death, start again when it is time; True when something changed."""
        if self.process is None or self.abandoned or self.process.poll() is None:
            return False
        now_s = self._clock()
        if self._restart_at_s is None:
            self._note_death(self.process.returncode, now_s)
            return True
        if now_s < self._restart_at_s:
            return False
        try:
            self.start()
        except (OSError, EngagementError) as error:
            log.error("not started again", child=self.name, error=str(error))
            self._plan(now_s, young=True)
            return False
        log.info("restarted", child=self.name, pid=self.process.pid)
        return True

    def _note_death(self, code: int, now_s: float) -> None:
        self._plan(now_s, young=now_s - self._started_at_s < YOUNG_S)
        self.abandoned = code == WILL_NOT_HELP
        log.warning("died", child=self.name, code=code, log=str(self.log_file))
        if self.abandoned:
            log.error("not started again: its settings are wrong", child=self.name)

    def _plan(self, now_s: float, *, young: bool) -> None:
        self._delay_s = min(self._delay_s * 2, RESTART_AFTER_S_MAX) if young else 0.0
        self._delay_s = max(self._delay_s, RESTART_AFTER_S)
        self._restart_at_s = now_s + self._delay_s
