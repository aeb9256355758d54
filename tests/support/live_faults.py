"""The program ``live_faults.c``: tasks whose registers change during a call, and the observer."""

from __future__ import annotations

import subprocess
from pathlib import Path

from kvmprobe import native
from kvmprobe.abi.c_constants import as_header

NATIVE = Path(native.__file__).parent
_OBSERVER = ("competitor.c", "live.c", "live_call.S", "live_changes.c", "live_pattern.c")
_COMPILE = ("gcc", "-static", "-O2", "-std=gnu11", "-D_GNU_SOURCE", "-Wno-unused-function")


def compiled(folder):
    """Compile the program with the executor's observer into a folder; return its path."""
    (folder / "constants.h").write_text(as_header())
    source = Path(__file__).with_suffix(".c")
    units = [source, *(NATIVE / name for name in _OBSERVER)]
    program = folder / source.stem
    subprocess.run([*_COMPILE, f"-I{NATIVE}", f"-I{folder}", "-o", program, *units], check=True)
    return program
