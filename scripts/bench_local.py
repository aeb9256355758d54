"""Measure this host: alternating runs of kvmprobe and of the C program by stage, and memory."""

from __future__ import annotations

import resource
import statistics
import subprocess
import tempfile
import time
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING

import bench_calls
import psutil

from kvmprobe.execution.driver import Driver, Request
from kvmprobe.execution.judging import Judging
from kvmprobe.execution.local_link import LocalLink
from kvmprobe.execution.place import ThisHost
from kvmprobe.execution.probing import examine
from kvmprobe.results.verdict import Verdict
from kvmprobe.scenarios import catalog
from kvmprobe.scenarios.ops.lifecycle import CreateVcpu

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from kvmprobe.model.host import HostProfile
    from kvmprobe.scenarios.scenario import Scenario

_MIB = 1 << 20
_ROUNDS = 7
_JUDGE, _ZYGOTE = "driver and judge", "zygote"
_FAMILIES = frozenset({"restore", "kick"})
_MEMORY_MARKS = (0.1, 0.5, 1.0)


@dataclass(frozen=True, slots=True)
class Effort:
    """How much to measure; ``seconds`` is the minimum of a run, ``memory`` 0 skips memory."""

    pairs: int
    seconds: float
    memory: int


@dataclass(frozen=True, slots=True)
class Stage:
    """The scenarios up to some call, and the C program that issues the same calls."""

    name: str
    scenarios: Sequence[Scenario]
    program: Path


@dataclass(frozen=True, slots=True)
class Cost:
    """Wall time and CPU time of ``count`` scenarios, seconds.

    :ivar judge: that part of the CPU time which driver and judge took
    """

    count: int
    wall: float
    cpu: float
    judge: float = 0.0

    @property
    def rate(self) -> float:
        """Scenarios per second."""
        return self.count / self.wall

    @property
    def text(self) -> str:
        """Times per scenario, for printing."""
        each = 1e3 / self.count
        return f"{self.wall * each:6.2f} ms, {self.cpu * each:5.2f} ms of CPU"


class Bench:
    """A worker, and the C programs to compare with."""

    def __init__(self, place: ThisHost, link: LocalLink, driver: Driver, host: HostProfile) -> None:
        self._place = place
        self._driver = driver
        self._host = host
        self._worker = psutil.Process(link.pid)

    def run_c(self, stage: Stage, repeats: int) -> Cost:
        """Run the C program of a stage."""
        before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run([stage.program, str(repeats)], check=True)
        wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return Cost(repeats * len(stage.scenarios), wall, cpu)

    def run_kvmprobe(self, stage: Stage, repeats: int) -> Cost:
        """Run the scenarios of a stage through worker and judge; each must pass."""
        before, started = self.cpu_parts(), time.perf_counter()
        count = sum(1 for _ in self.verdicts(stage.scenarios, repeats * len(stage.scenarios)))
        wall, after = time.perf_counter() - started, self.cpu_parts()
        used = {name: seconds - before[name] for name, seconds in after.items()}
        return Cost(count, wall, sum(used.values()), used[_JUDGE])

    def verdicts(self, scenarios: Sequence[Scenario], count: int) -> Iterable[Verdict]:
        """Run the scenarios in a cycle, and yield the verdicts of ``count`` runs.

        Each round has its own judge, because in a run each scenario is new to the judge.

        :raises SystemExit: one did not pass
        """
        requests = (Request(scenario, gate=1) for scenario in islice(cycle(scenarios), count))
        judging = Judging(self._host, self._place.target)
        traces = self._driver.traces(requests, self._host)
        for number, (request, trace) in enumerate(traces):
            if number % len(scenarios) == 0:
                judging = Judging(self._host, self._place.target)
            record = judging.record(request.scenario, trace)
            if record.verdict is not Verdict.PASS:
                raise SystemExit(f"{record.id}: {record.verdict.value} {record.reason}")
            yield record.verdict

    def cpu_parts(self) -> dict[str, float]:
        """CPU seconds of each part so far; children count when the zygote has waited for them."""
        parts = {}
        for name, process in self.processes().items():
            times = process.cpu_times()
            parts[name] = times.user + times.system
            if name == _ZYGOTE:
                parts["its children"] = times.children_user + times.children_system
        return parts

    def processes(self) -> dict[str, psutil.Process]:
        """This process, the worker, and the zygote that forks a child per scenario."""
        zygote = self._worker.children()[0]
        return {_JUDGE: psutil.Process(), "worker": self._worker, _ZYGOTE: zygote}


def measure(effort: Effort) -> None:
    """Print everything."""
    place = ThisHost()
    with tempfile.TemporaryDirectory() as directory, LocalLink(place.device) as link:
        driver = Driver(link, place.timing)
        preflight = examine(driver)
        host = preflight.profile
        # Without AMX no known defect shows, which would end the measurement.
        scenarios = [
            s
            for s in catalog.scenarios(host)
            if s.family in _FAMILIES and (host.amx or not s.needs_amx)
        ]
        print(f"{len(scenarios)} scenarios, each in its own process")
        stages = _stages(scenarios, preflight.profile, Path(directory))
        bench = Bench(place, link, driver, preflight.profile)
        _compare(bench, stages[-1], effort)
        _explain(bench, stages)
        if effort.memory:
            _watch_memory(bench, scenarios, effort.memory)


def _stages(scenarios: Sequence[Scenario], host: HostProfile, directory: Path) -> list[Stage]:
    cuts = {
        "fork, exit, wait": [s.upto(0) for s in scenarios],
        "+ open, VM, vCPU, first read-back": [s.upto(_steps_to_vcpu(s)) for s in scenarios],
        "+ the restore calls, read-backs, KVM_RUN": list(scenarios),
    }
    return [
        Stage(name, cut, bench_calls.build(cut, host, directory / f"stage{number}"))
        for number, (name, cut) in enumerate(cuts.items())
    ]


def _steps_to_vcpu(scenario: Scenario) -> int:
    return next(nr for nr, step in enumerate(scenario.steps, 1) if isinstance(step.op, CreateVcpu))


def _compare(bench: Bench, stage: Stage, effort: Effort) -> None:
    # Once without measuring: the worker gets the calls, and forks the zygote after that.
    sum(1 for _ in bench.verdicts(stage.scenarios, len(stage.scenarios)))
    once = bench.run_c(stage, 1)
    repeats = max(1, -(-int(effort.seconds * once.rate) // once.count))
    ratios, cpu_ratios, judge = [], [], []
    for number in range(effort.pairs):
        c, ours = bench.run_c(stage, repeats), bench.run_kvmprobe(stage, repeats)
        ratios.append(ours.rate / c.rate)
        cpu_ratios.append(c.cpu / ours.cpu)
        judge.append(ours.judge / ours.count * 1e3)
        print(
            f"pair {number + 1}: C {c.rate:6.1f}/s ({c.text}); "
            f"kvmprobe {ours.rate:6.1f}/s ({ours.text}); ratio {ratios[-1]:.2f}, "
            f"{_JUDGE} {judge[-1]:.2f} ms of CPU"
        )
    print(f"ratio of scenarios per second, kvmprobe to C: {_spread(ratios)}; target 0.9")
    print(f"ratio of CPU time, C to kvmprobe with its judge: {_spread(cpu_ratios)}")
    print(f"CPU time of {_JUDGE}, ms a scenario: {_spread(judge)}; target 1")


def _spread(values: Sequence[float]) -> str:
    middle = statistics.median(values)
    return f"median {middle:.2f}, min {min(values):.2f}, max {max(values):.2f}"


def _explain(bench: Bench, stages: Sequence[Stage]) -> None:
    """Print what each stage adds: differences of medians over alternating runs."""
    rounds = [
        [(bench.run_c(s, 1), bench.run_kvmprobe(s, 1)) for s in stages] for _ in range(_ROUNDS)
    ]
    print("wall time of a scenario by stage, ms:                         C  kvmprobe  difference")
    c_before = ours_before = 0.0
    for stage, runs in zip(stages, zip(*rounds, strict=True), strict=True):
        c = statistics.median(1e3 / cost.rate for cost, _ in runs)
        ours = statistics.median(1e3 / cost.rate for _, cost in runs)
        _row(stage.name, c - c_before, ours - ours_before)
        c_before, ours_before = c, ours
    _row("all", c_before, ours_before)
    before = bench.cpu_parts()
    cost = bench.run_kvmprobe(stages[-1], 2)
    parts = [
        f"{name} {(seconds - before[name]) / cost.count * 1e3:.2f}"
        for name, seconds in bench.cpu_parts().items()
    ]
    print(f"CPU time of a scenario, ms (the first in parallel): {', '.join(parts)}")


def _row(name: str, c: float, ours: float) -> None:
    print(f"  {name:52} {c:8.2f} {ours:9.2f} {ours - c:11.2f}")


def _watch_memory(bench: Bench, scenarios: Sequence[Scenario], total: int) -> None:
    marks = {round(total * mark) for mark in _MEMORY_MARKS}
    print("resident memory, MiB (peak):")
    for done, _ in enumerate(bench.verdicts(scenarios, total), 1):
        if done in marks:
            sizes = [f"{name} {_size(process)}" for name, process in bench.processes().items()]
            print(f"  after {done:6} scenarios: {', '.join(sizes)}; target: total < 150")


def _size(process: psutil.Process) -> str:
    status = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
    return f"{process.memory_info().rss / _MIB:.1f} ({peak * 1024 / _MIB:.1f})"
