"""The projector as a process of its own, for tests that kill it."""

import uvloop

from engagement.settings import settings
from projections.main import run

if __name__ == "__main__":
    uvloop.run(run(settings()))
