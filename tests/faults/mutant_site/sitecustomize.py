"""Loaded by every Python process of an instance whose PYTHONPATH names this directory.

That is how a mutant gets into processes that the product's own supervisor starts, while the
product knows nothing of it.
"""

import os

_NAME = os.environ.get("FAULTS_MUTANT", "")
if _NAME:
    from tests.faults.mutants import plant

    plant(_NAME)
