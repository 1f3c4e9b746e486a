"""The compose file is one that docker-compose takes, and has every process as a service."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    if shutil.which("docker-compose") is None:
        pytest.skip("docker-compose is not installed and could not be: see scripts/test-packages")
    done = subprocess.run(
        ["docker-compose", "-f", "docker-compose.yml", "config"],
        cwd=ROOT,
        env={**os.environ, "ENGAGEMENT_JWT_SECRET": "0123456789abcdef0123456789abcdef"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = yaml.safe_load(done.stdout)["services"]
    return found


def test_it_runs_kafka_postgres_and_each_of_our_processes(services: dict[str, Any]) -> None:
    assert services["kafka"]["image"] == "apache/kafka:4.3.1"
    assert services["postgres"]["image"] == "postgres:18"
    commands = {
        service.get("command")
        if isinstance(service.get("command"), str)
        else " ".join(service.get("command") or [])
        for service in services.values()
    }
    assert {"gateway", "worker", "project", "media", "marks", "topics", "migrate"} <= commands


def test_all_that_keep_running_are_probed(services: dict[str, Any]) -> None:
    for name, service in services.items():
        if name not in ("topics", "migrate"):
            assert "healthcheck" in service, name


def test_nothing_starts_before_what_it_needs(services: dict[str, Any]) -> None:
    for name in ("gateway", "projector"):
        assert set(services[name]["depends_on"]) == {"topics", "migrate"}
    for name in ("worker-0", "worker-1", "media", "marks"):
        assert set(services[name]["depends_on"]) == {"topics"}


def test_without_a_secret_it_refuses(services: dict[str, Any]) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "ENGAGEMENT_JWT_SECRET"}
    done = subprocess.run(
        ["docker-compose", "-f", "docker-compose.yml", "config"],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert "32 bytes" in done.stderr
