"""Imports the compiled executor; no other module does."""

from __future__ import annotations

from typing import Any

from kvmprobe import sources
from kvmprobe.errors import Unavailable

try:
    from kvmprobe.native import _executor
except ImportError as error:
    raise Unavailable(
        "not_built",
        f"the compiled module kvmprobe.native._executor cannot be loaded ({error}); "
        "install the project (pip install .), or start it with scripts/kvmprobe",
    ) from error

if sources.are_in():
    from pathlib import Path

    from kvmprobe.build_inputs import check

    check(Path(_executor.__file__))
ffi: Any = _executor.ffi
lib: Any = _executor.lib
