"""Commands that find neither broker nor database say so, with an exit code of its own."""

import os
import subprocess
import sys

import pytest

from engagement.cli import EXIT_NOT_RUNNING

NOBODY = {
    "ENGAGEMENT_KAFKA": "127.0.0.1:1",
    "ENGAGEMENT_DATABASE_URL": "postgresql://engagement@127.0.0.1:1/engagement",
}


@pytest.mark.parametrize(
    "command",
    ["migrate", "topics", "rebuild", "verify", "replay room", "replay room --from-log"],
)
def test_a_command_that_finds_nobody_is_no_traceback(command: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "engagement", *command.split()],
        env={**os.environ, **NOBODY},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == EXIT_NOT_RUNNING, done.stderr
    assert "Traceback" not in done.stderr
