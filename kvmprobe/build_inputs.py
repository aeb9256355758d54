"""What the compiled parts were built from, and whether that is what Python uses.

Python and the compiled parts agree on the wire and on the kernel's ABI only if both come from the
same sources.  A part that was built from others misreads requests, and what it then does would
look like a fault of the kernel.  ``cdefs/build_ext.py`` writes :func:`mark` into each part.
"""

from __future__ import annotations

import hashlib
import re
from functools import cache
from pathlib import Path

from kvmprobe import sources
from kvmprobe.errors import StaleBuild

PACKAGE = Path(__file__).parent
# Compiled by cdefs/build_ext.py; py-limited-api in pyproject.toml makes the suffix.
PARTS = ("bindings/_kvm.abi3.so", "native/_executor.abi3.so", "native/zygote", "native/recorder")
_MARK = re.compile(rb"kvmprobe was built from ([0-9a-f]{16}) ([0-9a-f]{16})\0")
_PACKAGE = ("abi/**/*.py", "native/**/*.c", "native/**/*.h", "native/**/*.S")
_CDEFS = ("*.py", "*.c", "*.h")


def mark(package: Path = PACKAGE) -> str:
    """Return the text that each compiled part contains: hashes of its inputs.

    The first hash is of the files in the package, which a wheel also has; the second of ``cdefs``.
    """
    return f"kvmprobe was built from {_hash(package)} {_hash(package.parent / 'cdefs')}"


def check_parts(package: Path = PACKAGE) -> None:
    """Check every compiled part that is there.

    :raises StaleBuild: one was built from other sources than those in use
    """
    for part in PARTS:
        if (package / part).exists():
            check(package / part, package)


def check(part: Path, package: Path = PACKAGE) -> None:
    """Check one compiled part.

    Where the package's sources are absent, nothing is checked: in the image of the emulated host,
    whose files were checked before they were copied.

    :raises StaleBuild: it was built from other sources than those in use
    """
    if not sources.are_in(str(package)):
        return
    found = _MARK.search(part.read_bytes())
    built = tuple(value.decode() for value in found.groups()) if found else ()
    wanted = [_hash(package)]
    if (package.parent / "cdefs").is_dir():
        wanted.append(_hash(package.parent / "cdefs"))
    if list(built[: len(wanted)]) != wanted:
        raise StaleBuild(
            f"{part} was built from other sources than those in use: it names "
            f"{' '.join(built) or 'no sources'}, in use are {' '.join(wanted)} (hashes of "
            "kvmprobe/native and kvmprobe/abi, and of cdefs); nothing was tested. "
            "Build it again: start kvmprobe by scripts/kvmprobe, or run scripts/test, or "
            "pip install ."
        )


@cache
def _hash(folder: Path) -> str:
    """Return a hash of the inputs in the package or in ``cdefs``: their places and contents."""
    state = hashlib.sha256()
    for file in sorted(_inputs(folder)):
        state.update(f"{file.relative_to(folder)}\0".encode())
        state.update(hashlib.sha256(file.read_bytes()).digest())
    return state.hexdigest()[:16]


def _inputs(folder: Path) -> list[Path]:
    """Return what scripts/setup.sh also takes for inputs, but for what is not compiled."""
    patterns = _CDEFS if folder.name == "cdefs" else _PACKAGE
    found = (file for pattern in patterns for file in folder.glob(pattern))
    return [file for file in found if not file.name.startswith(".")]
