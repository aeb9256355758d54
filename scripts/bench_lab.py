"""Measure emulated runs: cold and warm starts, one job and several, panics, coverage, memory.

Each run is in a process of its own, so that none profits or suffers from what another one has kept.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import threading
import time
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from statistics import median
from typing import TYPE_CHECKING

import psutil

from kvmprobe.execution.runner import Hazardous, Runner
from kvmprobe.lab.archive import Archives
from kvmprobe.lab.cache import Cache
from kvmprobe.lab.place import EmulatedHost, Startup
from kvmprobe.progress import Silent
from kvmprobe.results.verdict import Verdict
from kvmprobe.scenarios import catalog

if TYPE_CHECKING:
    from kvmprobe.lab.machine_events import Phase
    from kvmprobe.model.host import HostProfile
    from kvmprobe.results.record import ScenarioRecord
    from kvmprobe.scenarios.scenario import Scenario

_MIB = 1 << 20
_SAMPLE_SECONDS = 0.5
_FIRST_VERDICTS = 3


@dataclass(frozen=True, slots=True)
class _Work:
    """What one run does.

    :ivar only_first: run only the first scenario
    """

    kernel: str
    start: Startup
    jobs: int = 1
    coverage: bool = False
    only_first: bool = False

    def prepared(self) -> EmulatedHost:
        """Return the place."""
        archives = Archives(Cache.from_environment())
        place = EmulatedHost.prepare(archives, self.kernel, None, Silent(), start=self.start)
        if self.coverage:
            place = place.watched(archives.cache, Silent())
        return replace(place, jobs=self.jobs)

    def listed(self, host: HostProfile) -> list[Scenario]:
        """Return its scenarios for a host."""
        return list(catalog.scenarios(host))[: 1 if self.only_first else None]


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


@dataclass
class _Figures:
    """What one run cost.

    :ivar prepared: seconds until the kernel and the emulator were found
    :ivar first: seconds until the first record
    :ivar seconds: wall time of all, seconds
    :ivar own_cpu: CPU time of driver and judge, seconds
    :ivar after_panics: seconds from each panic's record to the next one
    :ivar boots: the phases of its boots
    """

    description: str
    prepared: float
    families: dict[str, _Family] = field(default_factory=lambda: defaultdict(_Family))
    first: float = 0.0
    seconds: float = 0.0
    count: int = 0
    own_cpu: float = 0.0
    after_panics: list[float] = field(default_factory=list)
    boots: list[Phase] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Records a second, without what came before the first one."""
        return (self.count - 1) / (self.seconds - self.first)


class _Clock:
    """Takes the records of a run as they arrive."""

    def __init__(self, figures: _Figures, started: float) -> None:
        self._figures = figures
        self._started = started
        self._panicked: float | None = None

    def take(self, record: ScenarioRecord) -> None:
        """Add a record."""
        figures, now = self._figures, time.monotonic()
        figures.first = figures.first or now - self._started
        figures.count += 1
        figures.families[record.family].take(record)
        if self._panicked is not None:
            figures.after_panics.append(now - self._panicked)
        self._panicked = now if record.verdict is Verdict.CRASHED else None


def _run(work: _Work) -> _Figures:
    gc.set_threshold(50_000)  # as the command does
    started = time.monotonic()
    place = work.prepared()
    figures = _Figures(place.target.description, time.monotonic() - started)
    own = time.process_time()
    with place:
        clock = _Clock(figures, started)
        runner = Runner(place, Hazardous.EVERY, clock.take, Silent())
        runner.run(lambda _id: True, work.listed)
        figures.seconds = time.monotonic() - started
    figures.own_cpu = time.process_time() - own
    figures.boots = place.template.phases
    return figures


@dataclass
class _Memory:
    """The most memory of one run: kvmprobe's process, its emulators; shared pages are divided."""

    own: int = 0
    emulators: int = 0

    @property
    def together(self) -> int:
        """Both, bytes."""
        return self.own + self.emulators


class _MemoryWatch(threading.Thread):
    """Samples the memory of a process that starts soon, and of its descendants."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.most = _Memory()

    def run(self) -> None:
        this = psutil.Process()
        while True:
            for own in this.children():
                emulators = sum(map(_share, own.children(recursive=True)))
                self.most = max(
                    self.most, _Memory(_share(own), emulators), key=lambda each: each.together
                )
            time.sleep(_SAMPLE_SECONDS)


def _share(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().pss)
    except (psutil.NoSuchProcess, psutil.AccessDenied, AttributeError):
        return 0


def _measured(work: _Work) -> _Figures:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_run, work).result()


def measure(kernel: str) -> None:
    """Run the catalogue several times and print the figures."""
    jobs = len(os.sched_getaffinity(0))
    firsts: dict[Startup, list[_Figures]] = {Startup.COLD: [], Startup.WARM: []}
    _measured(_Work(kernel, Startup.WARM, only_first=True))  # saves the machine
    # Alternately, so that another load on the machine falls on both.
    for _ in range(_FIRST_VERDICTS):
        for start, found in firsts.items():
            found.append(_measured(_Work(kernel, start, only_first=True)))
    one = _measured(_Work(kernel, Startup.WARM))
    watch = _MemoryWatch()
    watch.start()
    several = _measured(_Work(kernel, Startup.WARM, jobs))
    memory = watch.most
    covered = _measured(_Work(kernel, Startup.WARM, jobs, coverage=True))

    print(f"{one.description}, {jobs} jobs")
    for start, found in firsts.items():
        seconds = median(each.first for each in found)
        prepared = median(each.prepared for each in found)
        print(f"  first verdict, {start.name.lower()}: {seconds:.1f} s")
        print(f"    {'prepared':12} {prepared:5.1f} s after the command")
        for phases in zip(*(each.boots for each in found), strict=True):
            name, begins = phases[0].phase.value, median(phase.seconds for phase in phases)
            print(f"    {name:12} {begins:5.1f} s after the emulator")
    for name, figures in (("one job", one), (f"{jobs} jobs", several)):
        print(f"  whole catalogue, every crash, {name}: {figures.count} scenarios in")
        print(f"    {figures.seconds:.1f} s: {figures.rate:.1f}/s after the first;")
        print(
            f"    {figures.own_cpu / figures.count * 1e3:.2f} ms of CPU each for driver and judge"
        )
        if waits := sorted(figures.after_panics):
            print(
                f"    from a panic's record to the next: median {median(waits):.2f} s, "
                f"most {waits[-1]:.2f} s ({len(waits)} panics)"
            )
    print(f"  {jobs} jobs / one: {several.rate / one.rate:.2f}")
    print(f"  time with coverage / without: {several.rate / covered.rate:.2f}")
    print("  scenarios per second of a machine, by family:")
    for name, family in one.families.items():
        if family.seconds:
            rate, calls = family.count / family.seconds, family.calls / family.seconds
            print(f"    {name:12} {family.count:5} scenarios, {rate:6.1f}/s, {calls:7.1f} calls/s")
    print(f"  most memory with {jobs} jobs: {memory.together / _MIB:.0f} MiB")
    print(f"    kvmprobe {memory.own / _MIB:.0f} MiB, emulators {memory.emulators / _MIB:.0f} MiB")
