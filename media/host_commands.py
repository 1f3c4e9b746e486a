"""Commands to a synthetic host: `{"do": "step", "of": "media_timeline", "by_ms": -1300}`."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from engagement.domain import limits
from media.synthetic import SyntheticEngine
from media.virtual_publisher import PublisherTraits

_STEP = limits.SYNTHETIC_STEP_MS_MAX
_DRIFT = limits.SYNTHETIC_DRIFT_PPM_MAX

Ppm = Annotated[float, Field(ge=-_DRIFT, le=_DRIFT, allow_inf_nan=False)]
StepMs = Annotated[float, Field(ge=-_STEP, le=_STEP, allow_inf_nan=False)]


class _Command(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Start(_Command):
    """A host begins to publish; 409 while there is one."""

    do: Literal["start"]
    fps: Annotated[float, Field(ge=5, le=120, allow_inf_nan=False)] = 30.0
    clock_offset_ms: StepMs = 0.0
    """Of the host's wall clock: positive is ahead of the server's."""
    drift_ppm: Ppm = 0.0
    delay_ms: Annotated[float, Field(ge=0, le=1_000, allow_inf_nan=False)] = 20.0
    jitter_ms: Annotated[float, Field(ge=0, le=500, allow_inf_nan=False)] = 4.0


class Republish(_Command):
    """The host's software restarts: a new epoch."""

    do: Literal["republish"]


class Step(_Command):
    """The host's wall clock is set (the epoch goes on), or its media timeline jumps (a new one)."""

    do: Literal["step"]
    by_ms: StepMs
    of: Literal["publisher_clock", "media_timeline"] = "media_timeline"


class Drift(_Command):
    """The host's crystal runs faster (positive) or slower from now on."""

    do: Literal["drift"]
    ppm: Ppm


class Stall(_Command):
    """No frame arrives for a time: frames are lost, come late all at once, or were never made."""

    do: Literal["stall"]
    for_ms: Annotated[float, Field(gt=0, le=60_000, allow_inf_nan=False)]
    kind: Literal["lost", "late", "frozen"] = "lost"


class Stop(_Command):
    """The host leaves: the epoch ends."""

    do: Literal["stop"]


HostCommand = Annotated[Start | Republish | Step | Drift | Stall | Stop, Field(discriminator="do")]


def obey(engine: SyntheticEngine, room: str, command: HostCommand) -> None:
    """Carry a command out. Raises ConflictError, NotFoundError or UnavailableError."""
    match command:
        case Start():
            traits = command.model_dump(exclude={"do"})
            engine.start_host(room, PublisherTraits(**traits))
        case Republish():
            engine.republish(room)
        case Step(of="publisher_clock"):
            engine.step_clock(room, command.by_ms)
        case Step():
            engine.step_media(room, command.by_ms)
        case Drift():
            engine.set_drift(room, command.ppm)
        case Stall():
            engine.stall(room, command.for_ms, command.kind)
        case Stop():
            engine.stop_host(room)
