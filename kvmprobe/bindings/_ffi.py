"""The only importer of the compiled module."""

from __future__ import annotations

from typing import Any

from kvmprobe import sources
from kvmprobe.errors import Unavailable

try:
    from kvmprobe.bindings import _kvm
except ImportError as error:
    raise Unavailable(
        "not_built",
        f"the compiled module kvmprobe.bindings._kvm cannot be loaded ({error}); "
        "install the project (pip install .), or start it through scripts/kvmprobe",
    ) from error

if sources.are_in():
    from pathlib import Path

    from kvmprobe.build_inputs import check

    check(Path(_kvm.__file__))
ffi: Any = _kvm.ffi
lib: Any = _kvm.lib
