"""Whether the sources of the compiled parts are there; in the emulated host they are not.

The worker there imports this module instead of ``build_inputs``, whose imports would take a tenth
of the time that all others take.
"""

from __future__ import annotations

import os


def are_in(package: str = os.path.dirname(__file__)) -> bool:  # noqa: PTH120 - pathlib is slow
    """Return True if they are in this directory of the package."""
    return os.path.exists(f"{package}/native/wire.c")  # noqa: PTH110
