"""A fleet on this machine: a scheduler and workers in processes of their own, with TLS."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import psutil

from kvmprobe.fleet.certificates import CA, MEMBERS, SCHEDULER, WORKER, make
from kvmprobe.results.journal import EntryType, read_entries
from kvmprobe.results.run_directory import JOURNAL, is_run_directory
from tests.support.command import COMMAND, kvmprobe

if TYPE_CHECKING:
    from pathlib import Path

DEADLINE = 180.0
_CAMPAIGN_SECONDS = 600


def certificates(folder: Path) -> Path:
    """Return a directory with certificates of an authority of its own."""
    make(folder, MEMBERS, days=1)
    return folder


def wait_for(what, found):
    """Return what ``found`` returns as soon as it is true."""
    deadline = time.monotonic() + DEADLINE
    while not (answer := found()):
        assert time.monotonic() < deadline, f"no {what} within {DEADLINE:g} s"
        time.sleep(0.02)
    return answer


class Fleet:
    """A context manager that ends its members."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tls = certificates(folder / "tls")
        self.processes: dict[str, subprocess.Popen] = {}
        self._addresses = folder / "scheduler.json"

    def __enter__(self):
        self.start_scheduler()
        return self

    def __exit__(self, *_error):
        for name in list(self.processes):
            self.kill(name)

    @property
    def address(self) -> str:
        return json.loads(self._addresses.read_text())["address"]

    @property
    def options(self) -> list[str]:
        """Options of `kvmprobe run` for this fleet."""
        return ["--scheduler", self.address, "--tls", str(self.tls)]

    def start_scheduler(self, port: int = 0) -> None:
        self._addresses.unlink(missing_ok=True)
        self._start(
            "scheduler",
            ["scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-show"],
            self.tls,
            SCHEDULER,
        )
        wait_for("scheduler", self._addresses.exists)

    def start_worker(
        self, name: str, resources: str, tls: Path | None = None, host: str = "127.0.0.1"
    ) -> None:
        """Start a worker, with a state directory of its own, as another machine has it."""
        options = ["--no-nanny", "--nthreads", "1", "--name", name, "--resources", resources]
        options += ["--host", host]
        place = ["--local-directory", str(self.folder / name)]
        self._start(name, ["worker", *options, *place], tls or self.tls, WORKER)

    def staff(self, resources: str, *names: str) -> None:
        """Start those of these workers that do not run, and wait until the scheduler has them."""
        for name in names:
            if name in self.processes and self.processes[name].poll() is None:
                continue
            before = self.registrations(name)
            self.start_worker(name, resources)
            wait_for(f"worker {name}", lambda n=name, b=before: self.registrations(n) > b)

    def registrations(self, name: str) -> int:
        """Return how often a worker has found the scheduler."""
        log = self.folder / f"{name}.log"
        return log.read_text().count("Registered") if log.exists() else 0

    def restart(self, resources: str, *names: str) -> None:
        """Replace a scheduler that was killed, and its workers.

        What has lost its scheduler ends, and whoever looks after it starts it again.
        """
        for name in names:
            self.kill(name)
        self.start_scheduler()
        self.staff(resources, *names)

    def completed(self, path: Path, *words: str) -> int:
        """Begin or resume a campaign; return the client's exit status.

        :param words: the command line with which it begins, but for the fleet and the directory
        """
        if is_run_directory(path):
            command = ["resume", str(path), "--scheduler", self.address]
        else:
            command = [*words, *self.options, "--out", str(path)]
        return kvmprobe(*command, timeout=_CAMPAIGN_SECONDS).returncode

    def pid(self, name: str) -> int:
        return self.processes[name].pid

    def kill(self, name: str) -> None:
        process = self.processes.pop(name)
        process.kill()
        process.wait()

    def crash(self, name: str) -> None:
        """End a worker and all that it started as a panic does: without a last word."""
        process = psutil.Process(self.processes[name].pid)
        process.suspend()
        for each in [*process.children(recursive=True), process]:
            each.kill()
        self.processes.pop(name).wait()

    def journals(self, name: str) -> list[Path]:
        """Return the journals of a worker's shards."""
        return [*(self.folder / name).glob(f"kvmprobe/fleet/*/*/{JOURNAL}")]

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()

    def _start(self, name: str, command: list[str], tls: Path, role: str) -> None:
        files = {"--tls-ca-file": CA, "--tls-cert": role, "--tls-key": f"{role}-key"}
        words = [w for option, file in files.items() for w in (option, str(tls / f"{file}.pem"))]
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [
                    *(sys.executable, "-m", "dask", *command, "--no-dashboard"),
                    *("--dashboard-address", "127.0.0.1:0"),
                    *("--protocol", "tls", "--scheduler-file", str(self._addresses), *words),
                ],
                env={**os.environ, "XDG_STATE_HOME": str(self.folder / name)},
                stdout=subprocess.DEVNULL,
                stderr=log,
            )


@contextlib.contextmanager
def client(*arguments: str):
    """Start a command of kvmprobe; kill it at the end if it still runs."""
    with subprocess.Popen(
        [*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def recorded(path: Path) -> list[str]:
    """Return the ids of the records in a run's journal, in order."""
    if not is_run_directory(path):
        return []
    entries = read_entries(path / JOURNAL)
    return [e["record"]["id"] for e in entries if e["type"] == EntryType.RESULT.value]
