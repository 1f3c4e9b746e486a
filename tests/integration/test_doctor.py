"""The doctor: all is well, or it says what is wrong and how to mend it."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from engagement.commands.doctor import examine
from engagement.settings import Settings
from tests.faults.instance import Instance


async def doctor(environment: dict[str, str]) -> tuple[int, dict[str, dict[str, Any]]]:
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "engagement", "doctor", "--json"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.returncode, {finding["part"]: finding for finding in json.loads(done.stdout)}


async def test_a_running_instance_is_well(instance: Instance) -> None:
    code, findings = await doctor(instance.environment)
    broken = {part: f for part, f in findings.items() if f["state"] == "broken"}
    assert (code, broken) == (0, {})
    assert set(findings) == {
        "broker", "topics", "schema", "projections", "workers", "gateway", "media", "ports",
        "disk", "clock", "auth",
    }  # fmt: skip


async def test_nothing_running_is_told_with_the_way_out(instance: Instance, tmp_path: Path) -> None:
    environment = {
        **instance.environment,
        "ENGAGEMENT_KAFKA_PORT": "14999",
        "ENGAGEMENT_DATABASE_PORT": "14998",
        "ENGAGEMENT_PORT": "14997",
        "ENGAGEMENT_MEDIA_PORT": "14996",
    }
    code, findings = await doctor(environment)
    assert code == 1
    for part in ("broker", "topics", "schema", "gateway", "media", "ports"):
        assert findings[part]["state"] == "broken", part
        assert "engagement" in findings[part]["mend"]


async def test_topics_that_differ_are_named(instance: Instance) -> None:
    settings = Settings(
        kafka=instance.bootstrap,
        database_url=instance.dsn,
        partitions=4,
        port=instance.ports.gateway,
        media_port=instance.ports.media,
    )
    findings = {finding.part: finding for finding in await examine(settings)}
    assert findings["topics"].state == "broken"
    assert "partitions is 8, declared 4" in findings["topics"].found
