"""Real Chromium against the built pages."""

import importlib.util
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from types import ModuleType

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, async_playwright

from tests.conftest import free_ports
from tests.e2e.fake_gateway import FakeGateway
from tests.e2e.watching import Screens, watch

ROOT = Path(__file__).resolve().parents[2]

CHROMIUM_FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip


def build_pages() -> ModuleType:
    """`web/build_pages.py`, which belongs to no package."""
    spec = importlib.util.spec_from_file_location("build_pages", ROOT / "web" / "build_pages.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def static() -> Path:
    """The directory of the pages, built from the sources as they are now."""
    pages = build_pages()
    pages.ensure_built(ROOT)
    directory: Path = pages.static_dir(ROOT)
    return directory


@pytest_asyncio.fixture(scope="session")
async def browser() -> AsyncIterator[Browser]:
    """Chromium, once."""
    names = ("chromium", "chromium-browser", "google-chrome")
    found = os.environ.get("ENGAGEMENT_CHROMIUM") or next(
        filter(None, map(shutil.which, names)), ""
    )
    if not found:
        pytest.fail("these tests need Chromium: apt-get install chromium, or ENGAGEMENT_CHROMIUM")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=found, args=CHROMIUM_FLAGS)
        yield browser
        await browser.close()


@pytest_asyncio.fixture
async def gateway(static: Path) -> AsyncIterator[FakeGateway]:
    """A gateway under the test's control, in dev mode."""
    async with FakeGateway(static, free_ports(1)[0]).serving() as gateway:
        yield gateway


@pytest_asyncio.fixture
async def page(browser: Browser) -> AsyncIterator[Page]:
    """A desktop page; an error on its console fails the test."""
    context = await browser.new_context(viewport={"width": 1280, "height": 800})
    page = await context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda line: errors.append(line.text) if line.type == "error" else None)
    await page.add_init_script(path=Path(__file__).parent / "record_releases.js")
    yield page
    await context.close()
    # A refused handshake and a missing room are answers, which browsers log all the same; a gateway
    # may have gone before the page.
    told = ("WebSocket", "status of 404", "ERR_CONNECTION_REFUSED")
    unexpected = [e for e in errors if not any(one in e for one in told)]
    assert unexpected == []


@pytest_asyncio.fixture
async def screens(page: Page, gateway: FakeGateway) -> Screens:
    """The viewer page of the demo room, connected."""
    return await watch(page, gateway)
