"""The client library's own tests, under Node, and its types."""

import subprocess
from pathlib import Path

import pytest

from tests.e2e.conftest import ROOT, build_pages

WEB = ROOT / "web"


@pytest.fixture(scope="module")
def node() -> list[str]:
    """Node's command, with the library's development tools installed."""
    found = build_pages().find_node()
    if not (WEB / "node_modules" / "typescript").is_dir():
        install = [*found.npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        subprocess.run(install, cwd=WEB, check=True, timeout=300, capture_output=True)
    return list(found.node)


def run(command: list[str]) -> None:
    done = subprocess.run(command, cwd=WEB, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4_000:]


def test_the_library_passes_its_tests(node: list[str]) -> None:
    run([*node, "scripts/test.mjs"])


def test_library_and_pages_are_well_typed(node: list[str]) -> None:
    run([*node, "node_modules/typescript/bin/tsc", "--noEmit", "-p", "tsconfig.json"])


def test_the_library_builds_for_others(node: list[str], tmp_path: Path) -> None:
    out = str(tmp_path)
    run([*node, "node_modules/typescript/bin/tsc", "-p", "client/tsconfig.json", "--outDir", out])
    script = f"import {{ connect }} from '{tmp_path}/index.js'; process.exit(connect.length - 2)"
    run([*node, "--input-type=module", "-e", script])


def test_the_types_are_those_of_the_schemas(node: list[str]) -> None:
    run([*node, "scripts/generate-types.mjs", "--check"])
