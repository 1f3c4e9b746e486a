"""The gateway's page routes: what is served, how long it may be kept, and what it forbids."""

import gzip
import os
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
from fastapi import FastAPI

from engagement.gateway.pages import mount_pages
from engagement.settings import Settings

INDEX = '<meta name="engagement-auth" content="%AUTH%"><script src="/static/main-A.js"></script>'
SCRIPT = "console.log('hello');\n" * 200


def build(static: Path, script_name: str = "main-A.js") -> None:
    (static / "assets").mkdir(parents=True, exist_ok=True)
    (static / "assets" / script_name).write_text(SCRIPT)
    (static / "assets" / "icon.svg").write_text("<svg/>")
    (static / "index.html").write_text(INDEX.replace("main-A.js", script_name))


@pytest.fixture
def static(tmp_path: Path) -> Path:
    build(tmp_path / "static")
    return tmp_path / "static"


@pytest.fixture
def app(static: Path) -> FastAPI:
    app = FastAPI()
    app.state.gateway = SimpleNamespace(settings=Settings(auth="dev"))
    mount_pages(app, static)
    return app


@pytest.fixture
def client(app: FastAPI) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway")


@pytest.mark.parametrize("path", ["/", "/rooms/r", "/rooms/r/host", "/rooms/r/replay"])
async def test_every_page_address_has_the_document(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(path)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"
    assert 'content="dev"' in answer.text
    head = await client.head(path)
    assert head.status_code == 200
    assert head.content == b""


async def test_a_room_that_cannot_be_is_not_found(client: httpx.AsyncClient) -> None:
    assert (await client.get("/rooms/%3Cscript%3E")).status_code == 404
    assert (await client.get("/rooms/" + "x" * 65)).status_code == 404


async def test_the_document_says_how_to_sign_in(app: FastAPI, client: httpx.AsyncClient) -> None:
    app.state.gateway.settings = Settings(auth="jwt")
    assert 'content="jwt"' in (await client.get("/")).text


async def test_pages_forbid_all_that_they_do_not_need(client: httpx.AsyncClient) -> None:
    for path in ("/", "/static/main-A.js", "/static/none.js"):
        headers = (await client.get(path)).headers
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'self';")
        for directive in (
            "object-src 'none'",
            "base-uri 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
        ):
            assert directive in policy
        assert "unsafe" not in policy
        directives = dict(each.strip().partition(" ")[::2] for each in policy.split(";"))
        assert "*" not in directives["default-src"]
        assert headers["x-content-type-options"] == "nosniff"


async def test_assets_are_kept_for_ever_and_documents_are_asked_for_again(
    client: httpx.AsyncClient,
) -> None:
    script = await client.get("/static/main-A.js")
    assert script.text == SCRIPT
    assert "immutable" in script.headers["cache-control"]
    assert script.headers["content-type"].startswith("text/javascript")
    document = await client.get("/")
    again = await client.get("/", headers={"if-none-match": document.headers["etag"]})
    assert again.status_code == 304
    assert again.content == b""
    other = await client.get("/", headers={"if-none-match": '"other", W/"another"'})
    assert other.status_code == 200


async def test_assets_are_zipped_for_who_can_read_that(client: httpx.AsyncClient) -> None:
    plain = await client.get("/static/main-A.js", headers={"accept-encoding": "identity"})
    assert "content-encoding" not in plain.headers
    async with client.stream(
        "GET", "/static/main-A.js", headers={"accept-encoding": "gzip"}
    ) as zipped:
        assert zipped.headers["content-encoding"] == "gzip"
        assert zipped.headers["vary"] == "accept-encoding"
        raw = b"".join([part async for part in zipped.aiter_raw()])
    assert gzip.decompress(raw).decode() == SCRIPT


@pytest.mark.parametrize(
    "path",
    [
        "/static/none.js",
        "/static/..%2findex.html",
        "/static/%2e%2e%2findex.html",
        "/static/..%5cindex.html",
        "/static/%2fetc%2fpasswd",
        "/static/.sources.sha256",
        "/static/assets%2fmain-A.js",
        "/static/",
    ],
)
async def test_nothing_but_assets_can_be_named(client: httpx.AsyncClient, path: str) -> None:
    assert (await client.get(path)).status_code == 404


async def test_missing_pages_say_how_to_build_them_and_appear_when_built(tmp_path: Path) -> None:
    app = FastAPI()
    app.state.gateway = SimpleNamespace(settings=Settings(auth="dev"))
    mount_pages(app, tmp_path / "static")
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        missing = await client.get("/")
        assert missing.status_code == 503
        assert "make install" in missing.text
        assert (await client.get("/static/main-A.js")).status_code == 404
        build(tmp_path / "static")
        assert (await client.get("/")).status_code == 200
        assert (await client.get("/static/main-A.js")).status_code == 200


async def test_a_new_build_is_served_without_a_restart(
    static: Path, client: httpx.AsyncClient
) -> None:
    assert "main-A.js" in (await client.get("/")).text
    build(static, "main-B.js")
    (static / "assets" / "main-A.js").unlink()
    os.utime(static / "index.html", ns=(1, 1))
    assert "main-B.js" in (await client.get("/")).text
    assert (await client.get("/static/main-B.js")).status_code == 200
    assert (await client.get("/static/main-A.js")).status_code == 404
