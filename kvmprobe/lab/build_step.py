"""Running one command of a build: output goes to a log, no process survives an interrupt."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmprobe.errors import EmulatorBuildFailed, MissingTools

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

_LAST_LINES = 15
_GRACE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class BuildLog:
    """The log file of a build; ``what`` is being built."""

    path: Path
    what: str

    def start(self) -> None:
        """Empty the log."""
        self.path.write_bytes(b"")

    def failure(self, command: str) -> EmulatorBuildFailed:
        """Return the error for a failed command, with the end of the log."""
        lines = self.path.read_text(encoding="utf-8", errors="replace").splitlines()
        end = "\n".join(f"  {line}" for line in lines[-_LAST_LINES:])
        return EmulatorBuildFailed(
            f"building {self.what}: {command} failed; the log is {self.path}; it ends with:\n{end}"
        )


def require_tools(packages: Mapping[str, str], purpose: str) -> None:
    """Check that programs are installed.

    :param packages: Debian's package for each program
    :raises MissingTools: it names the packages to install
    """
    missing = {package for tool, package in packages.items() if shutil.which(tool) is None}
    if missing:
        raise MissingTools(tuple(sorted(missing)), purpose)


def run(
    command: Sequence[str | Path],
    directory: Path,
    log: BuildLog,
    environment: Mapping[str, str] | None = None,
    on_line: Callable[[str], None] = lambda _: None,
) -> None:
    """Run a command to its end.

    :param environment: variables to set in addition to the current ones
    :param on_line: called with each line of output
    :raises EmulatorBuildFailed: it failed
    """
    words = [str(word) for word in command]
    # A process group of its own, so that the compilers that make starts are killed as well.
    with (
        log.path.open("ab") as file,
        subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", *words],
            cwd=directory,
            env={**os.environ, "LC_ALL": "C", **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            process_group=0,
        ) as process,
    ):
        try:
            for line in process.stdout or ():
                file.write(line)
                on_line(line.decode("utf-8", errors="replace"))
            status = process.wait()
        except BaseException:
            _end(process)
            raise
    if status != 0:
        raise log.failure(words[0])


def _end(process: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE_SECONDS)
