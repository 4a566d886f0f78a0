"""Seeds of the random models that are compared with the libraries that made them."""

from __future__ import annotations

import os


def seeds(usual: int) -> range:
    """As many as usual from 0 on, unless the environment says how many, or which is the first."""
    first = int(os.environ.get("GLOWPLUG_TEST_FIRST_SEED", "0"))
    return range(first, first + int(os.environ.get("GLOWPLUG_TEST_EXAMPLES", str(usual))))
