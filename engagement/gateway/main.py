"""Running a gateway process."""

import asyncio
import os
import resource
import signal
import sys

import structlog
import uvicorn

from engagement.collector import collect_rarely
from engagement.gateway.app import create_asgi
from engagement.gateway.auth import Authenticator
from engagement.gateway.gifts_file import read_gifts
from engagement.gateway.ws_protocol import HurriedHttpProtocol, LiveProtocol
from engagement.observability import configure_logging
from engagement.settings import ConfigurationError, Settings

log = structlog.get_logger()

EXIT_CONFIGURATION = 78
"""`EX_CONFIG` of sysexits.h: starting again will not help."""

_FRAME_READ_BYTES_MAX = 64 * 1024
"""What is read of a frame at all; between this and `FRAME_BYTES_MAX` the session says why not."""
_GRACE_S = 2
_BACKLOG = 4_096


def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT. Exits with 78 when the settings forbid it."""
    configure_logging(settings, "gateway")
    try:
        Authenticator(settings)
        read_gifts(settings.gifts_file)
    except ConfigurationError as error:
        log.error("gateway.configuration", error=str(error))
        sys.exit(EXIT_CONFIGURATION)
    _raise_open_files()
    config = uvicorn.Config(
        create_asgi(settings),
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        http=HurriedHttpProtocol,
        ws=LiveProtocol,
        ws_max_size=_FRAME_READ_BYTES_MAX,
        ws_per_message_deflate=False,
        ws_ping_interval=20.0,
        ws_ping_timeout=20.0,
        log_config=None,
        access_log=False,
        server_header=False,
        # Behind a proxy set FORWARDED_ALLOW_IPS to its address; nobody else is believed.
        proxy_headers="FORWARDED_ALLOW_IPS" in os.environ,
        backlog=_BACKLOG,
        timeout_keep_alive=65,
        timeout_graceful_shutdown=_GRACE_S,
    )
    collect_rarely()
    server = uvicorn.Server(config)
    log.info("gateway.starting", host=settings.host, port=settings.port, auth=settings.auth)
    for number in (signal.SIGTERM, signal.SIGINT):
        # uvicorn stops in order and then raises the signal again: once is enough.
        signal.signal(number, signal.SIG_IGN)
    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(server.serve())
    if not server.started:
        sys.exit(1)


def _raise_open_files() -> None:
    """A socket is a file: take as many as the machine allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
