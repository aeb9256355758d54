"""Measure a move on the emulated host: save, new process, restore, run, check.

The C program issues the calls of the same two scenarios, each in a process of its own, on the same
kernel and emulator; it checks nothing.  CPU time is that of the emulator and of kvmprobe: another
load on the machine falls on neither.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import bench_calls
import psutil

from kvmprobe.execution.driver import Driver, Request
from kvmprobe.execution.migrating import MovingHost
from kvmprobe.judge.lockstep import agrees_along
from kvmprobe.lab.archive import Archives
from kvmprobe.lab.cache import Cache
from kvmprobe.lab.place import EmulatedHost
from kvmprobe.moves.guests import Use
from kvmprobe.moves.resuming import trying
from kvmprobe.moves.saved_guest import from_bytes, to_text
from kvmprobe.moves.saving import saving
from kvmprobe.progress import Silent
from kvmprobe.scenarios.model_run import ModelRun
from kvmprobe.scenarios.presets import presets

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kvmprobe.execution.link import Link
    from kvmprobe.scenarios.scenario import Scenario

_ORDER, _USE = "qemu-full", Use.TILES
_ROUNDS, _MOVES = 3, 25


def measure(kernel: str) -> None:
    """Print what a move costs, and the ratio to the C program."""
    archives = Archives(Cache.from_environment())
    with EmulatedHost.prepare(archives, kernel, None, Silent()) as place:
        host = MovingHost.probed(place)
        with place.open() as link:
            scenarios, ours = _ours(host, link)
        description = place.target.description
    with tempfile.TemporaryDirectory() as folder:
        program = bench_calls.build(scenarios, host.profile, Path(folder) / "c", "-static")
        theirs = list(_theirs(kernel, program))
    calls = sum(1 for scenario in scenarios for _ in scenario.ops())
    print(f"{description}: a move of {calls} calls, {_ORDER}, {_USE}: ms of CPU")
    print(f"  kvmprobe   {_range(ours)}")
    print(f"  C program  {_range(theirs)}")
    print(f"  ratio      {median(ours) / median(theirs):.2f}")


def _range(found: Sequence[float]) -> str:
    milliseconds = [1e3 * each / _MOVES for each in found]
    return f"{median(milliseconds):.1f} ({min(milliseconds):.1f} to {max(milliseconds):.1f})"


def _ours(host: MovingHost, link: Link) -> tuple[list[Scenario], list[float]]:
    """Return the two scenarios of a move, and the CPU seconds of each round."""
    [order] = [preset for preset in presets() if preset.name == _ORDER]
    profile, driver = host.profile, Driver(link, host.place.timing)
    found: list[float] = []
    scenarios: list[Scenario] = []
    for _ in range(_ROUNDS):
        started = _cpu_seconds(psutil.Process())
        model = ModelRun(profile)
        save = saving(profile, order, _USE)
        guests = []
        for request, trace in driver.traces([Request(save, 0)] * _MOVES, profile):
            if not agrees_along(request.scenario, model, trace):
                raise SystemExit("the kernel does what the model does not expect")
            guest = host.moved(order, _USE, save, model, trace).guest
            guests.append(from_bytes(to_text(guest).encode()))
        tried = [trying(guest, order, model) for guest in guests]
        requests = [Request(one.scenario, 0) for one in tried]
        for request, trace in driver.traces(requests, profile):
            if not agrees_along(request.scenario, model, trace):
                raise SystemExit("the guest found something else")
        found.append(_cpu_seconds(psutil.Process()) - started)
        scenarios = [save, tried[0].scenario]
    return scenarios, found


def _theirs(kernel: str, program: Path) -> Iterator[float]:
    """Yield the CPU seconds of each round of the C program."""
    rounds = f"for i in {' '.join(map(str, range(_ROUNDS + 1)))}; do /bench {_MOVES}; echo; done"
    command = [sys.executable, "-m", "kvmprobe.cli.main", "lab", "exec", "--kernel", kernel]
    command += ["--file", f"{program}:/bench", "--", "/bin/sh", "-c", rounds]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None  # noqa: S101 - it is a pipe
        before = None
        for _ in process.stdout:
            now = _cpu_seconds(psutil.Process(process.pid))
            # What comes before the end of the first round is the boot.
            if before is not None:
                yield now - before
            before = now
    if process.returncode:
        raise SystemExit(f"the C program failed: {process.returncode}")


def _cpu_seconds(process: psutil.Process) -> float:
    """Return the CPU time of a process and its descendants that are there, with their children."""
    return sum(sum(one.cpu_times()[:4]) for one in [process, *process.children(recursive=True)])
