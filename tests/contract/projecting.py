"""The projector, run as other processes of the tests are."""

import uvloop

from engagement.settings import Settings
from projections import main


def run(settings: Settings) -> None:
    """Project until it is told to end."""
    uvloop.run(main.run(settings))
