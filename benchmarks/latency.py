"""POST acknowledged → frame at a viewer's socket."""

from msgspec import Struct

from benchmarks import bed, programs
from benchmarks.references import Hop, kafka_hop
from benchmarks.targets import Figure, Report

HOP = "a bare Kafka hop, acknowledged → consumed"


class Scenario(Struct, frozen=True):
    """One load, and what the issue promises about it."""

    name: str
    rate: int
    batch: int
    rooms: int
    viewers: int
    p99_ms: float
    p50_ms: float | None = None


SCENARIOS = (
    Scenario("1,000/s one by one, 50 rooms", 1_000, 1, 50, 1, p99_ms=80, p50_ms=20),
    Scenario("10,000/s in arrays of 100, 50 rooms", 10_000, 100, 50, 1, p99_ms=200),
    Scenario("100/s in one room of 1,000 viewers", 100, 1, 1, 1_000, p99_ms=200),
)


async def measure(quick: bool) -> Report:
    """All scenarios on one instance, each after a bare hop at the same moment."""
    programs.build("viewers")
    figures: list[Figure] = []
    notes: list[str] = []
    async with bed.running() as instance:
        gateway = instance.gateways(1)[0]
        for scenario in SCENARIOS:
            hop = await kafka_hop(instance.bootstrap, 200, 2 if quick else 5)
            found = await programs.viewers(
                watch=gateway,
                post=gateway,
                rooms=scenario.rooms,
                viewers=scenario.viewers,
                rate=scenario.rate,
                batch=scenario.batch,
                seconds=4 if quick else 20,
                warmup=1 if quick else 4,
            )
            figures += _figures(scenario, found, hop)
            notes.append(_note(scenario, found))
    return Report("latency", "Latency: POST acknowledged → frame at a socket", figures, notes)


def _figures(scenario: Scenario, found: programs.Measured, hop: Hop) -> list[Figure]:
    ack, due = found.ack_to_frame, found.due_to_frame
    name = scenario.name
    return [
        Figure(
            f"{name}: p50", ack.p50_ms, "ms", scenario.p50_ms,
            reference=hop.consumed_p50_ms, reference_is=HOP,
        ),
        Figure(
            f"{name}: p99", ack.p99_ms, "ms", scenario.p99_ms,
            reference=hop.consumed_p99_ms, reference_is=HOP,
        ),
        Figure(f"{name}: p99.9", ack.p999_ms, "ms"),
        Figure(f"{name}: due → ack, p50", found.due_to_ack.p50_ms, "ms"),
        Figure(f"{name}: due → ack, p99", found.due_to_ack.p99_ms, "ms"),
        Figure(f"{name}: due → frame, p50", due.p50_ms, "ms"),
        Figure(f"{name}: due → frame, p99", due.p99_ms, "ms"),
    ]  # fmt: skip


def _note(scenario: Scenario, found: programs.Measured) -> str:
    whole = "nothing missing, doubled or out of order" if found.complete else (
        f"MISSING {found.missing}, DOUBLED {found.repeated}, OUT OF ORDER {found.out_of_order}"
    )  # fmt: skip
    return (
        f"{scenario.name}: {found.acknowledged:,} of {found.events:,} acknowledged, "
        f"{found.delivered:,} delivered, {whole}; 'due' counts from the schedule, so a stalled "
        "server cannot hide its queue"
    )
