"""Measure emulated runs: cold and warm starts, one job and several, panics, coverage, memory."""

from __future__ import annotations

import os
import resource
import threading
import time
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import psutil

from kvmprobe.execution.runner import Hazardous, Runner
from kvmprobe.lab.archive import Archives
from kvmprobe.lab.cache import Cache
from kvmprobe.lab.place import EmulatedHost, Startup
from kvmprobe.progress import Silent
from kvmprobe.results.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable

    from kvmprobe.lab.machine_events import Phase
    from kvmprobe.results.record import ScenarioRecord

_MIB = 1 << 20
_SAMPLE_SECONDS = 0.5
# Every scenario with its number divisible by this one, where the whole catalogue would take long.
_SAMPLE = 10


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


class _Run:
    """One run: when its records arrived, and what it cost.

    :ivar first: seconds until the first record
    :ivar after_panics: seconds from each panic's record to the next one
    """

    def __init__(self, place: EmulatedHost, wanted: Callable[[str], bool]) -> None:
        self.families: dict[str, _Family] = defaultdict(_Family)
        self.first = 0.0
        self.count = 0
        self.after_panics: list[float] = []
        self._panicked: float | None = None
        self._started = time.monotonic()
        own = time.process_time()
        with place:
            Runner(place, Hazardous.EVERY, self._take, Silent()).run(wanted)
            self.seconds = time.monotonic() - self._started
        self.own_cpu = time.process_time() - own
        self.boots: list[Phase] = place.template.phases

    def _take(self, record: ScenarioRecord) -> None:
        now = time.monotonic()
        self.first = self.first or now - self._started
        self.count += 1
        self.families[record.family].take(record)
        if self._panicked is not None:
            self.after_panics.append(now - self._panicked)
        self._panicked = now if record.verdict is Verdict.CRASHED else None

    @property
    def rate(self) -> float:
        """Records a second, without what came before the first one."""
        return (self.count - 1) / (self.seconds - self.first)


class _MemoryWatch(threading.Thread):
    """Samples the memory of all descendants of this process; shared pages are divided."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.most = 0

    def run(self) -> None:
        process = psutil.Process()
        while True:
            self.most = max(self.most, sum(map(_share, process.children(recursive=True))))
            time.sleep(_SAMPLE_SECONDS)


def _share(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().pss)
    except (psutil.NoSuchProcess, psutil.AccessDenied, AttributeError):
        return 0


def measure(kernel: str) -> None:
    """Run the catalogue several times and print the figures."""
    watch = _MemoryWatch()
    watch.start()
    jobs = len(os.sched_getaffinity(0))
    archives = Archives(Cache.from_environment())

    def prepared(startup: Startup, jobs: int) -> EmulatedHost:
        place = EmulatedHost.prepare(archives, kernel, None, Silent(), start=startup)
        return replace(place, jobs=jobs)

    # Alternately, so that another load on the machine falls on both.
    begun = time.monotonic()
    cold = _Run(prepared(Startup.COLD, 1), _one_in(_SAMPLE))
    cold_first = time.monotonic() - begun - cold.seconds + cold.first
    _Run(prepared(Startup.WARM, 1), _one_in(1 << 30))  # saves the machine
    begun = time.monotonic()
    place = prepared(Startup.WARM, 1)
    prepare_seconds = time.monotonic() - begun
    one = _Run(place, _one_in(_SAMPLE))
    several = _Run(prepared(Startup.WARM, jobs), _one_in(_SAMPLE))
    watched = prepared(Startup.WARM, 1).watched(archives.cache, Silent())
    covered = _Run(watched, _one_in(_SAMPLE))
    whole = _Run(prepared(Startup.WARM, jobs), lambda _id: True)

    print(f"{place.target.description}, {jobs} jobs")
    print(f"  first verdict: cold {cold_first:.1f} s, warm {prepare_seconds + one.first:.1f} s")
    for phase in cold.boots:
        print(f"    {phase.phase.value:12} starts {phase.seconds:5.1f} s after the emulator")
    print(f"  whole catalogue, every crash: {whole.count} scenarios in {whole.seconds:.1f} s")
    print(f"    {whole.rate:.1f} scenarios/s; {whole.own_cpu / whole.count * 1e3:.2f} ms of CPU")
    print("    each for driver and judge")
    waits = sorted(whole.after_panics)
    if waits:
        print(
            f"  from a panic's record to the next: median {waits[len(waits) // 2]:.2f} s, "
            f"most {waits[-1]:.2f} s ({len(waits)} panics)"
        )
    print(f"  one scenario in {_SAMPLE}: {one.rate:.1f}/s with one job")
    print(f"    {jobs} jobs / one: {several.rate / one.rate:.2f}")
    print(f"    time with coverage / without: {one.rate / covered.rate:.2f}")
    print("  scenarios per second of a machine, by family:")
    for name, family in whole.families.items():
        if family.seconds:
            rate, calls = family.count / family.seconds, family.calls / family.seconds
            print(f"    {name:12} {family.count:5} scenarios, {rate:6.1f}/s, {calls:7.1f} calls/s")
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(f"  most memory: emulators {watch.most / _MIB:.0f} MiB, kvmprobe {own / _MIB:.0f} MiB")


def _one_in(step: int) -> Callable[[str], bool]:
    """Return a selection of every such scenario, in the order in which it is asked."""
    asked = 0

    def wanted(_id: str) -> bool:
        nonlocal asked
        asked += 1
        return asked % step == 1

    return wanted
