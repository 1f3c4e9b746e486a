"""Build hook: the wheel (and an editable install) carries the built pages."""

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class PagesBuildHook(BuildHookInterface[Any]):
    """Builds the pages before anything is packed, unless they are there already."""

    def dependencies(self) -> list[str]:
        """Node from PyPI, only where the pages have to be built and the system has no Node."""
        pages = _build_pages(Path(self.root))
        if pages.is_skipped() or pages.is_fresh(Path(self.root)) or pages.system_node():
            return []
        return [pages.NODE_WHEEL]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build. Raises BuildError, whose message pip shows."""
        pages = _build_pages(Path(self.root))
        if pages.is_skipped():
            self.app.display_warning(f"{pages.SKIP_VARIABLE} is set: the pages are not built")
            return
        pages.ensure_built(Path(self.root), self.app.display_info)


def _build_pages(root: Path) -> ModuleType:
    """`web/build_pages.py`, which belongs to no package."""
    spec = importlib.util.spec_from_file_location("build_pages", root / "web" / "build_pages.py")
    if spec is None or spec.loader is None:
        raise ImportError("web/build_pages.py is missing")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
