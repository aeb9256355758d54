"""Compiles a program with the command in its head comment."""

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
    """Compile a program as a static executable; warnings are errors.

    :raises MissingTools: there is no C compiler
    :raises CompilerFailed: the program does not compile; the message has the compiler's output
    """
    if shutil.which(_COMPILER) is None:
        raise MissingTools(("gcc", "libc6-dev"), "compiling a program")
    command = (_COMPILER, *FLAGS, "-o", str(executable), str(source))
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode != 0:
        raise CompilerFailed(f"{' '.join(command)}\n{ended.stderr.rstrip()}")
