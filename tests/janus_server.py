"""A real Janus, Debian's, on free ports of loopback: for tests of the engine that drives one."""

import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from tests.conftest import free_ports
from tests.waiting import until

SECRET, ADMIN_KEY = "a-secret-of-the-api", "a-key-for-rooms"
_LIB = "/usr/lib/x86_64-linux-gnu/janus"
_LOADED = {"plugins": "libjanus_videoroom.so", "transports": "libjanus_http.so"}


def configure(folder: Path, port: int, first_media_port: int) -> None:
    """Write Janus' configuration: what the engine's documentation asks for, on loopback."""
    (folder / "janus.jcfg").write_text(f"""
general: {{
  configs_folder = "{folder}"
  plugins_folder = "{_LIB}/plugins"
  transports_folder = "{_LIB}/transports"
  events_folder = "{_LIB}/events"
  loggers_folder = "{_LIB}/loggers"
  debug_level = 3
  api_secret = "{SECRET}"
  interface = "127.0.0.1"
  event_loops = 2
}}
media: {{ rtp_port_range = "{first_media_port}-{first_media_port + 400}" }}
nat: {{ ice_lite = true }}
plugins: {{ disable = "{_others("plugins")}" }}
transports: {{ disable = "{_others("transports")}" }}
""")
    (folder / "janus.transport.http.jcfg").write_text(f"""
general: {{ json = "compact" http = true port = {port} ip = "127.0.0.1" https = false }}
admin: {{ admin_http = false }}
""")
    (folder / "janus.plugin.videoroom.jcfg").write_text(f"""
general: {{ admin_key = "{ADMIN_KEY}" lock_rtp_forward = true string_ids = true }}
""")


def _others(what: str) -> str:
    return ",".join(
        path.name for path in Path(_LIB, what).glob("*.so") if path.name != _LOADED[what]
    )


class Janus:
    """A process, and where its API is."""

    def __init__(self, folder: Path) -> None:
        self.port, media = free_ports(2)
        self.url = f"http://127.0.0.1:{self.port}/janus"
        self._folder = folder
        self._log = folder / "janus.log"
        configure(folder, self.port, min(media, 60_000))
        self.process = self._started()

    def _started(self) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            return subprocess.Popen(
                ["janus", "-F", str(self._folder)], stdout=log, stderr=subprocess.STDOUT
            )

    async def ready(self) -> None:
        """Wait for the API."""

        async def answers() -> bool:
            assert self.process.poll() is None, self._log.read_text()[-2_000:]
            try:
                return (await http.get(f"{self.url}/info")).status_code == 200
            except httpx.TransportError:
                return False

        async with httpx.AsyncClient(trust_env=False) as http:
            await until(answers, "Janus")

    def kill(self) -> None:
        """No goodbye."""
        self.process.kill()
        self.process.wait()

    async def restarted(self) -> None:
        """Begin anew, on the same ports."""
        self.process = self._started()
        await self.ready()


@asynccontextmanager
async def janus(folder: Path) -> AsyncIterator[Janus]:
    """A Janus that runs; killed at the end."""
    started = Janus(folder)
    try:
        await started.ready()
        yield started
    finally:
        started.kill()
