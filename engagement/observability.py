"""Structured logs and the process's own metrics endpoint."""

import logging
import sys
from typing import Any

import structlog

from engagement.settings import Settings

_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


def configure_logging(settings: Settings, process: str) -> None:
    """One JSON object a line on stderr (or readable lines with `log_format=console`).

    Comment texts and tokens are never logged at info.
    """
    level = _LEVELS[settings.log_level]
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    renderer: Any = (
        structlog.processors.JSONRenderer()
        if settings.log_format == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(process=process)
    _route_standard_logging(level, [*shared, renderer])


def _route_standard_logging(level: int, processors: list[Any]) -> None:
    """Libraries log through the standard library: same format, warnings and above only."""
    formatter = structlog.stdlib.ProcessorFormatter(
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, processors[-1]],
        foreign_pre_chain=[*processors[:-1], structlog.stdlib.add_logger_name],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(level, logging.WARNING))


def serve_metrics(port: int, host: str = "127.0.0.1") -> None:
    """Serve `/metrics` on a port of its own; 0 serves nothing."""
    if port:
        from prometheus_client import start_http_server

        start_http_server(port, addr=host)
