"""An event loop in which nothing is left to chance: time is a number, and a process can be stopped,
woken or killed between any two awaits.

What a process does runs in a context that names it, so that every callback and every step of a
task is known to be of that process. A process that sleeps keeps its steps until it wakes; one that
was killed never makes another.
"""

import asyncio
import contextvars
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Literal, NoReturn

_PROCESS: contextvars.ContextVar["Process | None"] = contextvars.ContextVar("process", default=None)
_NOBODY = contextvars.Context()
"""The context of what no process does: brokers, databases, networks, faults."""

BEGIN_S = 1_000.0


class StuckError(Exception):
    """Nothing will ever happen again."""


class DiedError(Exception):
    """A process has ended itself; what would come next is not done."""


class SimulatedLoop(asyncio.BaseEventLoop):
    """Runs what is ready; when nothing is, goes to the time of the next timer."""

    def __init__(self) -> None:
        super().__init__()
        self._now_s = BEGIN_S
        self._selector = self  # What BaseEventLoop asks to wait until something happens.

    def time(self) -> float:
        return self._now_s

    def select(self, timeout_s: float | None) -> Sequence[object]:
        """Nothing comes from outside, so waiting is going forward in time."""
        if timeout_s is None:
            raise StuckError("nothing is ready and no timer runs")
        self._now_s += timeout_s
        return ()

    def _process_events(self, event_list: Sequence[object]) -> None:
        """There are none."""

    def call_soon(
        self, callback: Any, *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        process = _PROCESS.get() if context is None else context.get(_PROCESS)
        if process is None:
            return super().call_soon(callback, *args, context=context)
        step = _Step(process, callback, args, context or contextvars.copy_context())
        step.handle = super().call_soon(step, context=step.context)
        return step.handle

    def call_at(
        self, when: float, callback: Any, *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        process = _PROCESS.get() if context is None else context.get(_PROCESS)
        if process is None:
            return super().call_at(when, callback, *args, context=context)
        step = _Step(process, callback, args, context or contextvars.copy_context())
        timer = super().call_at(when, step, context=step.context)
        step.handle = timer
        return timer

    def again(self, step: "_Step") -> None:
        """Make a step that was kept."""
        super().call_soon(step, context=step.context)

    def outside(self, delay_s: float, callback: Callable[..., object], *args: object) -> None:
        """Do something that is of no process."""
        self.call_later(delay_s, callback, *args, context=_NOBODY)


class _Step:
    """One callback of a process."""

    __slots__ = ("args", "callback", "context", "handle", "process")

    def __init__(
        self,
        process: "Process",
        callback: Callable[..., object],
        args: tuple[object, ...],
        context: contextvars.Context,
    ) -> None:
        self.process = process
        self.callback = callback
        self.args = args
        self.context = context
        self.handle: asyncio.Handle | None = None

    def __call__(self) -> None:
        is_cancelled = self.handle is not None and self.handle.cancelled()
        if not is_cancelled and self.process.may_step(self):
            self.callback(*self.args)


class Process:
    """Something that can be stopped, woken and killed as a whole, and has a clock of its own."""

    def __init__(self, loop: SimulatedLoop, name: str) -> None:
        self.name = name
        self.state: Literal["runs", "sleeps", "dead", "buried"] = "runs"
        self.clock_off_us = 0
        """How much its wall clock is ahead of the true time."""
        self.at_death: list[Callable[[], object]] = []
        self.tasks: list[asyncio.Task[Any]] = []
        self._loop = loop
        self._frozen: list[_Step] = []
        self._steps_left: int | None = None
        self._what: Callable[[], object] = self.kill

    @property
    def is_alive(self) -> bool:
        """Whether it has not been killed."""
        return self.state in ("runs", "sleeps")

    def start(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run a coroutine as a part of this process."""
        context = contextvars.Context()
        context.run(_PROCESS.set, self)
        task = self._loop.create_task(work, context=context)
        self.tasks.append(task)
        return task

    def after_steps(self, steps: int, what: Callable[[], object]) -> None:
        """Do this to the process when it has made so many steps more, before the next one."""
        self._steps_left, self._what = steps, what

    def kill(self) -> None:
        """SIGKILL: no step of it is ever made again."""
        if self.is_alive:
            self.state = "dead"
            for tell in self.at_death:
                tell()

    def die(self) -> NoReturn:
        """End by itself, at once."""
        self.kill()
        raise DiedError(self.name)

    def stop(self) -> None:
        """SIGSTOP."""
        if self.state == "runs":
            self.state = "sleeps"

    def wake(self) -> None:
        """SIGCONT: it goes on as if no time had passed, which it has."""
        if self.state != "sleeps":
            return
        self.state = "runs"
        frozen, self._frozen = self._frozen, []
        for step in frozen:
            self._loop.again(step)

    def calm(self) -> None:
        """Nothing more happens to it: what was to come is called off, its clock is right."""
        self._steps_left = None
        self.clock_off_us = 0
        self.wake()

    def may_step(self, step: _Step) -> bool:
        """Whether this step is made now; one that is not is kept for when it wakes."""
        if self.state == "runs" and self._steps_left is not None:
            self._steps_left -= 1
            if self._steps_left <= 0:
                self._steps_left = None
                self._what()
        if self.state in ("sleeps", "dead"):
            self._frozen.append(step)
        return self.state in ("runs", "buried")

    async def bury(self) -> None:
        """Let its coroutines end, so that Python has nothing to say about them; whatever they do
        at their end reaches nobody."""
        self.kill()
        self.state = "buried"
        for task in self.tasks:
            task.cancel()
        # The steps it never made: a task that waits for one of them could not end.
        frozen, self._frozen = self._frozen, []
        for step in frozen:
            self._loop.again(step)
        await asyncio.gather(*self.tasks, return_exceptions=True)


def current_process() -> Process | None:
    """Whose step this is."""
    return _PROCESS.get()
