"""Compiling a program, as its head says."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

from kvmprobe.errors import CompilerFailed, MissingTools
from kvmprobe.repro.program import FLAGS

if TYPE_CHECKING:
    from pathlib import Path

_COMPILER = "cc"


def compile_program(source: Path, executable: Path) -> None:
    """Compile a program, statically, with every warning an error.

    :raises MissingTools: there is no C compiler
    :raises CompilerFailed: it does not compile; the message is what the compiler said
    """
    if shutil.which(_COMPILER) is None:
        raise MissingTools(("gcc", "libc6-dev"), "compiling a program")
    command = (_COMPILER, *FLAGS, "-o", str(executable), str(source))
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode != 0:
        raise CompilerFailed(f"{' '.join(command)}\n{ended.stderr.rstrip()}")
