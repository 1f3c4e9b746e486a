"""Three hundred worlds, each with its own faults; none may come to a wrong end. Then worlds with a
bug planted, which must."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WORLDS = 300


def simulate(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.simulation", *arguments],
        cwd=ROOT, env={**os.environ, "PYTHONHASHSEED": "0"}, capture_output=True, text=True,
    )  # fmt: skip


def test_no_world_comes_to_a_wrong_end() -> None:
    found = simulate("--seeds", str(WORLDS))
    # What failed says how it is replayed: python -m tests.simulation --seed N
    assert found.returncode == 0, found.stdout + found.stderr[-2_000:]
    assert f"{WORLDS} worlds" in found.stdout


@pytest.mark.parametrize("seed", [3, 13])
def test_the_same_seed_is_the_same_world(seed: int) -> None:
    first, second = (simulate("--seed", str(seed)) for _ in range(2))
    assert first.returncode == 0, first.stdout + first.stderr[-2_000:]
    assert first.stdout == second.stdout
    assert simulate("--seed", str(seed + 1)).stdout != first.stdout


def test_every_planted_bug_shows_in_some_world() -> None:
    found = simulate("--mutants")
    assert found.returncode == 0, found.stdout + found.stderr[-2_000:]
    assert " bugs planted, 0 escaped" in found.stdout
