"""Ending the process at once, because going on could lose or double something."""

import os
from typing import Final, NoReturn

import structlog

log = structlog.get_logger()

EXIT_CODE: Final = 70
"""EX_SOFTWARE of sysexits.h."""


def die(reason: str, error: BaseException | None = None) -> NoReturn:
    """End the process. The supervisor restarts it, and it goes on from its last commit."""
    log.error("worker dies", reason=reason, error=None if error is None else repr(error))
    os._exit(EXIT_CODE)
