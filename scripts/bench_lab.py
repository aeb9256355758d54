"""Measure an emulated run: start of each boot phase, times of verdicts, memory."""

from __future__ import annotations

import resource
import threading
import time
from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import psutil

from kvmprobe.execution.runner import Hazardous, Runner
from kvmprobe.lab.archive import Archives
from kvmprobe.lab.cache import Cache
from kvmprobe.lab.place import EmulatedHost
from kvmprobe.progress import Silent
from kvmprobe.results.verdict import Verdict

if TYPE_CHECKING:
    from kvmprobe.lab.machine_events import Phase
    from kvmprobe.results.record import ScenarioRecord

_MIB = 1 << 20
_SAMPLE_SECONDS = 0.5


class _Mark(NamedTuple):
    """A time: wall time since the start and CPU time of the emulator, seconds."""

    wall: float = 0.0
    cpu: float = 0.0

    def __str__(self) -> str:
        return f"{self.wall:.1f} s ({self.cpu:.1f} s of the emulator's CPU time)"


@dataclass
class _Family:
    """The scenarios of a family: number, kernel calls, and seconds in the emulator."""

    count: int = 0
    calls: int = 0
    seconds: float = 0.0

    def take(self, record: ScenarioRecord) -> None:
        """Add a record."""
        self.count += 1
        self.calls += sum(len(step.calls) for step in record.steps)
        self.seconds += record.duration


class _Verdicts:
    """The times at which records arrived."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.first = self.last = _Mark()
        self.count = self.crashed = 0
        self.families: dict[str, _Family] = defaultdict(_Family)

    def take(self, record: ScenarioRecord) -> None:
        """Record the time; crashes do not count as the last verdict."""
        self.count += 1
        self.families[record.family].take(record)
        if record.verdict is Verdict.CRASHED:
            self.crashed += 1
            return
        emulators = psutil.Process().children(recursive=True)
        cpu = sum(t.user + t.system for t in (p.cpu_times() for p in emulators))
        self.last = _Mark(time.monotonic() - self.started, cpu)
        if not self.first.wall:
            self.first = self.last


class _MemoryWatch(threading.Thread):
    """Samples the resident memory of all descendants of this process."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.below = 0

    def run(self) -> None:
        process = psutil.Process()
        while True:
            self.below = max(self.below, sum(map(_resident, process.children(recursive=True))))
            time.sleep(_SAMPLE_SECONDS)


def _resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.NoSuchProcess:
        return 0


def measure(kernel: str) -> None:
    """Run all scenarios once and print where the time was spent."""
    watch = _MemoryWatch()
    watch.start()
    verdicts = _Verdicts()
    place = EmulatedHost.prepare(Archives(Cache.from_environment()), kernel, None, Silent())
    prepared = time.monotonic() - verdicts.started
    runner = Runner(place, Hazardous.EVERY, verdicts.take, Silent())
    runner.run(lambda _id: True)
    total = time.monotonic() - verdicts.started
    print(f"{place.target.description}: {verdicts.count} scenarios in {total:.1f} s")
    print(f"  kernel, emulator and boot image ready after {prepared:.1f} s")
    _print_boot(place.template.phases)
    print(f"  first verdict after {verdicts.first}; target 45 s with caches warm")
    print(
        f"  last verdict, without {verdicts.crashed} crashes, after {verdicts.last}; target 120 s"
    )
    each = (verdicts.last.wall - verdicts.first.wall) / max(1, verdicts.count - 1)
    print(f"  a scenario took {each * 1e3:.1f} ms")
    print("  scenarios per second by family (`guest` and `migrate` use the guest payload):")
    for name, family in verdicts.families.items():
        rate, calls = family.count / family.seconds, family.calls / family.seconds
        print(f"    {name:12} {family.count:5} scenarios, {rate:6.1f}/s, {calls:7.1f} calls/s")
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(
        f"  peak memory: emulator {watch.below / _MIB:.0f} MiB (target < 1024), "
        f"kvmprobe {own / _MIB:.0f} MiB (target < 150)"
    )


def _print_boot(phases: list[Phase]) -> None:
    """Print the first boot; ``seconds`` start at 0 in each."""
    first = phases[:1]
    for before, phase in pairwise(phases):
        if phase.seconds < before.seconds:
            break
        first.append(phase)
    for phase in first:
        print(f"    {phase.phase.value:12} starts {phase.seconds:5.1f} s after the emulator")
