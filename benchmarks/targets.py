"""Figures, their targets and their tables; and the JSON that each benchmark leaves."""

import time
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct
from rich.console import Console
from rich.table import Table

from tests.faults.run import commit, facts_of_the_machine

RESULTS = Path(__file__).parent / "results"


class Figure(Struct):
    """One measured number."""

    what: str
    value: float
    unit: str
    at_most: float | None = None
    at_least: float | None = None
    reference: float | None = None
    """The same unit, measured in the same run: the ratio to it cancels the machine."""
    reference_is: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None where there is none."""
        if self.at_most is not None:
            return self.value <= self.at_most
        if self.at_least is not None:
            return self.value >= self.at_least
        return None


class Report(Struct):
    """What one benchmark found."""

    name: str
    title: str
    figures: list[Figure]
    notes: list[str] = []


class Measurement(Struct):
    """A report, and what it was measured on."""

    at: str
    commit: str
    machine: dict[str, Any]
    quick: bool
    report: Report


def show(console: Console, report: Report) -> None:
    """Print a report as a table."""
    table = Table(title=report.title, title_justify="left")
    for column in ("figure", "value", "target", "ratio", "reference"):
        table.add_column(column, justify="right" if column in ("value", "target") else "left")
    for figure in report.figures:
        table.add_row(
            figure.what,
            f"{_mark(figure.met)}{figure.value:,.{_digits(figure.value)}f} {figure.unit}[/]",
            _target(figure),
            _ratio(figure),
            _reference(figure),
        )
    console.print(table)
    for note in report.notes:
        console.print(f"  {note}", highlight=False)


def measured(report: Report, *, quick: bool) -> Measurement:
    """A report that was made just now, here."""
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return Measurement(at, commit(), facts_of_the_machine(), quick, report)


def save(measurement: Measurement) -> Path:
    """Write it as JSON into `benchmarks/results/`."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{measurement.report.name}.json"
    _write(path, measurement)
    return path


def record(directory: Path, measurements: list[Measurement]) -> None:
    """Put these in the place of older ones in benchmarks.json and benchmarks.md of a directory."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "benchmarks.json"
    known: dict[str, Measurement] = {}
    if path.exists():
        known = msgspec.json.decode(path.read_bytes(), type=dict[str, Measurement])
    known.update({each.report.name: each for each in measurements})
    _write(path, known)
    (directory / "benchmarks.md").write_text(in_words(list(known.values())))


def _write(path: Path, what: Any) -> None:
    path.write_bytes(msgspec.json.format(msgspec.json.encode(what), indent=2) + b"\n")


def in_words(measurements: list[Measurement]) -> str:
    """All measurements as Markdown."""
    machine = measurements[0].machine
    lines = [
        "# Benchmarks",
        "",
        f"Made by `make bench` on {machine['cores']} cores, {machine['memory_gib']} GiB, "
        f"{machine['system']}, Python {machine['python']}. Broker, database, all processes, load "
        "and viewers share this machine: trust the ratios.",
    ]
    for each in measurements:
        lines += [
            "",
            f"## {each.report.title}",
            "",
            f"Commit `{each.commit}`, {each.at}" + (", a short run." if each.quick else "."),
            "",
            "| figure | value | target | met | ratio | reference |",
            "|---|---|---|---|---|---|",
            *(_row(figure) for figure in each.report.figures),
            "",
            *(f"- {note}" for note in each.report.notes),
        ]
    return "\n".join([*lines, ""])


def _row(figure: Figure) -> str:
    cells = (
        figure.what,
        f"{figure.value:,.{_digits(figure.value)}f} {figure.unit}".strip(),
        _target(figure),
        {None: "", True: "yes", False: "**no**"}[figure.met],
        _ratio(figure),
        _reference(figure),
    )
    return "| " + " | ".join(cells) + " |"


def _ratio(figure: Figure) -> str:
    return f"{figure.value / figure.reference:.2f}x" if figure.reference else ""


def _mark(met: bool | None) -> str:
    return {None: "[default]", True: "[green]", False: "[red]"}[met]


def _digits(value: float) -> int:
    return 0 if abs(value) >= 1000 else 1 if abs(value) >= 10 else 2


def _target(figure: Figure) -> str:
    if figure.at_most is not None:
        return f"≤ {figure.at_most:,g}"
    if figure.at_least is not None:
        return f"≥ {figure.at_least:,g}"
    return ""


def _reference(figure: Figure) -> str:
    if figure.reference is None:
        return ""
    number = f"{figure.reference:,.{_digits(figure.reference)}f}"
    return f"{number} {figure.unit}: {figure.reference_is}"
