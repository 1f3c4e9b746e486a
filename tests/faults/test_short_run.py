"""CI's share of `make faults`: real processes, real kills, and bugs that the checker must find."""

import random
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import free_ports

from . import convict
from .checker import judge_run
from .money import double_spend
from .run import Options, run

PORTS = 50
ROUNDS = 25
pytestmark = [pytest.mark.faults, pytest.mark.timeout(480)]


@pytest.fixture
def directory() -> Iterator[Path]:
    """Where PostgreSQL, which runs as another user when we are root, can get in."""
    made = Path(tempfile.mkdtemp(prefix="faults-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made, ignore_errors=True)


async def test_every_acknowledged_request_is_there_once_whatever_is_killed(
    directory: Path,
) -> None:
    seed = random.SystemRandom().randrange(1, 1 << 31)
    options = Options(
        requests=16_000,
        gifts=4_000,
        kills=24,
        pauses=2,
        seconds=80,
        seed=seed,
        directory=directory,
        first_port=free_ports(PORTS)[0],
    )

    outcome = await run(options, print)
    verdict, _ = judge_run(directory)

    assert verdict["ok"], f"seed {seed}: {verdict['anomalies']} {verdict['examples']}"
    assert sum(count for what, count in outcome.faults.items() if what.startswith("kill")) >= 20
    assert verdict["looked_at"]["acknowledged"] > 19_000
    assert verdict["looked_at"]["gifts_paid"] > 3_000
    assert verdict["looked_at"]["battles_ended"] > 10
    assert not any(outcome.verified.values()), outcome.verified
    assert not outcome.server_errors
    assert not outcome.never_came_back


async def test_a_wallet_pays_for_one_gift_whoever_asks_at_the_same_moment(
    directory: Path,
) -> None:
    found = await double_spend.run(ROUNDS, directory, free_ports(PORTS)[0], print)

    assert not found["wrong"]
    assert found["ok"], found


@pytest.mark.parametrize("mutant", ["commit_before_written", "resume_misses_one"])
def test_a_bug_in_the_product_is_found(mutant: str) -> None:
    result = convict.try_mutant(mutant, first_port=free_ports(PORTS)[0])

    assert result["as_expected"], f"expected one of {result['expected']}, found {result['found']}"
