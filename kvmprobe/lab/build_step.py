"""Running one command of a build: output into a log, no process left when we are interrupted.

Knows nothing of what is built.
"""

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
    """The file that every command's output goes to; ``what`` is being built."""

    path: Path
    what: str

    def start(self) -> None:
        """Begin anew."""
        self.path.write_bytes(b"")

    def failure(self, command: str) -> EmulatorBuildFailed:
        """Describe a failed command by the log's end."""
        lines = self.path.read_text(encoding="utf-8", errors="replace").splitlines()
        end = "\n".join(f"  {line}" for line in lines[-_LAST_LINES:])
        return EmulatorBuildFailed(
            f"building {self.what}: {command} failed; the whole log is {self.path}; its end:\n{end}"
        )


def require_tools(packages: Mapping[str, str], purpose: str) -> None:
    """Check that programs are installed.

    :param packages: Debian's package for each program
    :raises MissingTools: with the packages to install
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

    :param environment: variables to set beside the ones there are
    :param on_line: called with each line of its output
    :raises EmulatorBuildFailed: it failed
    """
    words = [str(word) for word in command]
    # A group of its own, so that the compilers of make's are found and ended as well.
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
