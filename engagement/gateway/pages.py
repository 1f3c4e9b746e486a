"""The built pages: one HTML document for every page address, and its hashed assets.

The files come from `web/` by npm (see `hatch_build.py`) and are read once into memory, so an
address can only ever name a file that was there: there is no path to traverse.
"""

import gzip
import hashlib
import mimetypes
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from types import MappingProxyType
from typing import Final

from fastapi import FastAPI, Request
from starlette.responses import Response

from engagement.domain.names import is_room_id
from engagement.settings import Settings, settings

STATIC_DIR: Final = Path(__file__).parent / "static"

_IMMUTABLE: Final = "public, max-age=31536000, immutable"
"""Asset names hold the hash of their content."""
_REVALIDATE: Final = "no-cache"
_GZIP_BYTES_MIN: Final = 1_024
"""Below this the gzip header eats the gain."""

_POLICY: Final = (
    # Trusted Types: in browsers that have them, no string can become HTML or script at all.
    "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "object-src 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
SECURITY_HEADERS: Final = {
    "content-security-policy": _POLICY,
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(self), microphone=(self), geolocation=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}

_NOT_BUILT: Final = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>The page is not built</title>
<h1>The page is not built</h1>
<p>The gateway runs, but its pages are missing in <code>engagement/gateway/static</code>.
<p>In a checkout run <code>make install</code>, or <code>npm ci &amp;&amp; npm run build</code>
in <code>web/</code>, and load this page again. Nothing needs to be restarted.
</html>
"""


@dataclass(frozen=True)
class _File:
    """One file as it is served."""

    content: bytes
    zipped: bytes | None
    etag: str
    media_type: str


class Pages:
    """The files of the static directory; read when first asked for, and again after a build."""

    def __init__(self, directory: Path = STATIC_DIR) -> None:
        self._directory = directory
        self._template = ""
        self._index: dict[tuple[str, str], _File] = {}
        self._assets: dict[str, _File] = {}
        self._built_ns = 0
        self._lock = Lock()

    def index(self, auth: str, media: str = "") -> _File | None:
        """The document for this way of signing in, whose pages find the media process at `media`;
        None when the pages are not built."""
        with self._lock:
            try:
                built_ns = (self._directory / "index.html").stat().st_mtime_ns
            except FileNotFoundError:
                return None
            if built_ns != self._built_ns:
                self._load()
                self._built_ns = built_ns
            if (auth, media) not in self._index:
                made = self._template.replace("%AUTH%", auth).replace("%MEDIA%", media)
                self._index[auth, media] = _file(made.encode(), "index.html")
            return self._index[auth, media]

    def asset(self, name: str) -> _File | None:
        """An asset by its name; None when there is none."""
        self.index("dev")
        return self._assets.get(name)

    def _load(self) -> None:
        self._template = (self._directory / "index.html").read_text(encoding="utf-8")
        self._index = {}
        self._assets = {
            path.name: _file(path.read_bytes(), path.name)
            for path in (self._directory / "assets").iterdir()
        }


def mount_pages(app: FastAPI, directory: Path = STATIC_DIR) -> None:
    """Serve `/`, `/rooms/{room}`, `/rooms/{room}/host`, `/rooms/{room}/replay`, `/static/…`."""
    pages = Pages(directory)

    def document(request: Request) -> Response:
        known = _settings_of(request.app)
        media = known.media_url or f":{known.media_port}"
        file = pages.index(known.auth, media)
        if file is None:
            return Response(_NOT_BUILT, 503, SECURITY_HEADERS, "text/html; charset=utf-8")
        room = request.path_params.get("room")
        status = 200 if room is None or is_room_id(room) else 404
        return _answer(request, file, _REVALIDATE, status, _policy(media))

    def asset(name: str, request: Request) -> Response:
        file = pages.asset(name)
        if file is None:
            return Response("no such file\n", 404, SECURITY_HEADERS, "text/plain")
        return _answer(request, file, _IMMUTABLE)

    for path in ("/", "/rooms/{room}", "/rooms/{room}/host", "/rooms/{room}/replay"):
        app.add_api_route(path, document, methods=["GET", "HEAD"], include_in_schema=False)
    app.add_api_route("/static/{name}", asset, methods=["GET", "HEAD"], include_in_schema=False)


def _settings_of(app: FastAPI) -> Settings:
    gateway = getattr(app.state, "gateway", None)
    return settings() if gateway is None else gateway.settings


def _policy(media: str) -> dict[str, str]:
    """Pages may also ask the media process, and play what they have put together from it.

    `data:` is an empty track by which hls.js clears another.
    """
    source = f"*{media}" if media.startswith(":") else media
    allowed = f"; connect-src 'self' {source}; media-src 'self' blob: data: {source}"
    return {"content-security-policy": _POLICY + allowed}


def _file(content: bytes, name: str) -> _File:
    media_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
    if media_type.startswith("text/"):
        media_type += "; charset=utf-8"
    zipped = gzip.compress(content, 9, mtime=0) if len(content) >= _GZIP_BYTES_MIN else None
    return _File(content, zipped, _etag(content), media_type)


def _etag(content: bytes) -> str:
    # Weak: the zipped and the plain bytes are told apart by nothing else.
    return f'W/"{hashlib.sha256(content).hexdigest()[:24]}"'


def _answer(
    request: Request,
    file: _File,
    cache: str,
    status: int = 200,
    more: Mapping[str, str] = MappingProxyType({}),
) -> Response:
    headers = {
        **SECURITY_HEADERS,
        **more,
        "cache-control": cache,
        "etag": file.etag,
        "vary": "accept-encoding",
    }
    asked = request.headers.get("if-none-match", "")
    if status == 200 and file.etag in (tag.strip() for tag in asked.split(",")):
        return Response(None, 304, headers)
    content = file.content
    if file.zipped is not None and "gzip" in request.headers.get("accept-encoding", ""):
        content = file.zipped
        headers["content-encoding"] = "gzip"
    return Response(content, status, headers, file.media_type)
