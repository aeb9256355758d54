"""Programs that check a processor against the manual: compiling them, and the checks they have."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

SOURCES = Path(__file__).parents[1] / "lab" / "programs"
# Vector registers are what the programs' assembly makes them; a program's pages are its guest's.
_COMPILE = (
    *("gcc", "-static", "-no-pie", "-O2", "-std=gnu11", "-Wall", "-Wextra", "-Werror"),
    *("-mgeneral-regs-only", "-mno-red-zone", "-fno-stack-protector", "-minline-all-stringops"),
)
_CHECK = re.compile(r'\bcheck(?:_with\([\w |]+, |\()"([a-z0-9-]+)"')


def compiled(program, folder):
    """Compile a program into a folder; return its path."""
    path = folder / program
    subprocess.run([*_COMPILE, "-o", path, SOURCES / f"{program}.c"], check=True)
    return path


def checks_of(program):
    """Return the names of a program's checks, as its source has them."""
    return sorted(set(_CHECK.findall((SOURCES / f"{program}.c").read_text(encoding="utf-8"))))
