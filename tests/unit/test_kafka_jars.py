"""The broker's jars: from a directory, or fetched once and whole."""

import threading
from pathlib import Path

import pytest

from engagement.errors import UnavailableError
from engagement.log import kafka_jars
from engagement.log.kafka_jars import KAFKA_VERSION, Tell, find_jars
from engagement.settings import Settings

NAMES = [f"kafka_2.13-{KAFKA_VERSION}.jar", "scala-library.jar", "slf4j-simple.jar"]


def fill(directory: Path) -> list[Path]:
    directory.mkdir(parents=True, exist_ok=True)
    for name in NAMES:
        (directory / name).write_text(name)
    return [directory / name for name in NAMES]


def names(jars: list[Path]) -> list[str]:
    return sorted(jar.name for jar in jars)


def test_a_named_directory_is_used_and_nothing_is_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_jars, "_resolve", lambda *_: pytest.fail("fetched"))
    fill(tmp_path / "offline")
    settings = Settings(kafka_jars_dir=tmp_path / "offline", cache_dir=tmp_path / "cache")
    assert names(find_jars(settings)) == sorted(NAMES)


def test_a_named_directory_without_a_broker_is_told_by_name(tmp_path: Path) -> None:
    settings = Settings(kafka_jars_dir=tmp_path, cache_dir=tmp_path / "cache")
    with pytest.raises(UnavailableError, match=f"ENGAGEMENT_KAFKA_JARS_DIR={tmp_path}"):
        find_jars(settings)


def test_jars_are_fetched_once_even_by_two_first_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched: list[Path] = []
    both_here = threading.Barrier(2)

    def resolve(staging: Path, tell: Tell) -> list[Path]:
        fetched.append(staging)
        return fill(staging / "environment")

    monkeypatch.setattr(kafka_jars, "_resolve", resolve)
    settings = Settings(cache_dir=tmp_path)
    found: list[list[str]] = []

    def start() -> None:
        both_here.wait()
        found.append(names(find_jars(settings)))

    threads = [threading.Thread(target=start) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [sorted(NAMES)] * 2
    assert len(fetched) == 1


def test_a_fetch_that_is_cut_off_leaves_nothing_that_a_later_start_would_trust(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The resolver writes a jar in its place and takes half of one for the whole afterwards."""

    def cut_off(staging: Path, tell: Tell) -> list[Path]:
        fill(staging / "environment")
        raise ConnectionError("reset by peer")

    monkeypatch.setattr(kafka_jars, "_resolve", cut_off)
    settings = Settings(cache_dir=tmp_path)
    with pytest.raises(UnavailableError, match="reset by peer"):
        find_jars(settings)
    assert not (tmp_path / f"kafka-{KAFKA_VERSION}").exists()

    monkeypatch.setattr(kafka_jars, "_resolve", lambda staging, _: fill(staging / "environment"))
    assert names(find_jars(settings)) == sorted(NAMES)
    assert not list(tmp_path.glob("*.fetching"))


def test_an_unreachable_network_names_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(staging: Path, tell: Tell) -> list[Path]:
        raise OSError("no route to host")

    monkeypatch.setattr(kafka_jars, "_resolve", unreachable)
    with pytest.raises(UnavailableError, match="ENGAGEMENT_KAFKA_JARS_DIR"):
        find_jars(Settings(cache_dir=tmp_path))
