"""The command line: every command is there, explains itself, and starts quickly."""

import os
import subprocess
import sys

import pytest
import typer.main
from typer.testing import CliRunner

from engagement.cli import EXIT_CONFIGURATION, app

COMMANDS = {
    "up", "prepare", "gateway", "worker", "project", "media", "marks", "migrate", "topics",
    "rebuild", "verify", "replay", "import", "crowd", "demo", "demo-crowd", "demo-video", "doctor",
    "token", "openapi", "asyncapi", "schemas",
}  # fmt: skip


def engagement(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "engagement", *arguments],
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_all_commands_of_the_contract_exist() -> None:
    group = typer.main.get_command(app)
    assert set(group.commands) == COMMANDS  # type: ignore[attr-defined]


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_explains_itself(command: str) -> None:
    answer = CliRunner().invoke(app, [command, "--help"])
    assert answer.exit_code == 0
    explanation = [line for line in answer.output.splitlines() if line.strip()][1]
    assert len(explanation.split()) >= 3


def test_an_unknown_command_is_wrong_usage() -> None:
    assert engagement("dance").returncode == 2


def test_bad_settings_are_named_one_by_one_and_never_a_traceback() -> None:
    answer = engagement("worker", ENGAGEMENT_PORT="seven", ENGAGEMENT_WORKERS="0")
    assert answer.returncode == EXIT_CONFIGURATION
    assert "ENGAGEMENT_PORT: " in answer.stderr
    assert "ENGAGEMENT_WORKERS: " in answer.stderr
    assert "Traceback" not in answer.stderr


@pytest.mark.parametrize("process", ["gateway", "media"])
def test_a_process_that_would_trust_the_whole_network_is_not_started_again(process: str) -> None:
    answer = engagement(process, ENGAGEMENT_AUTH="dev", ENGAGEMENT_HOST="0.0.0.0")
    assert answer.returncode == EXIT_CONFIGURATION
    assert "loopback" in answer.stdout + answer.stderr
    assert "Traceback" not in answer.stderr


def test_no_command_pays_for_what_another_one_imports() -> None:
    """A worker's start-up is a stall that viewers see: these are imported by who needs them."""
    heavy = "aiokafka alembic asyncpg fastapi faust httpx jgo rich.console sqlalchemy uvicorn"
    program = f"import sys, engagement.cli; print([n for n in {heavy.split()} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout.strip() == b"[]"
