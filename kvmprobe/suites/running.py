"""Running tests on the emulated host, each on a fork of one booted machine.

What a test leaves behind, a hang and a panic end with its fork.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmprobe.errors import LabError
from kvmprobe.lab.machine_events import (
    BlocksReached,
    ConsolePanic,
    EndReason,
    KvmMissing,
    Output,
    Overran,
    ProgramExited,
    ProgramKilled,
)
from kvmprobe.lab.machine_events import Ended as MachineEnded
from kvmprobe.lab.variant_boot import naming
from kvmprobe.results import console_text
from kvmprobe.results.record import Crash, ScenarioRecord
from kvmprobe.results.verdict import FAILURES, Verdict
from kvmprobe.suites.explained import explained
from kvmprobe.suites.outcome import Ended, Outcome, outcome_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from kvmprobe.lab.coverage import Coverage
    from kvmprobe.lab.machine import Machine
    from kvmprobe.lab.template import Template
    from kvmprobe.results.console_text import PanicReport
    from kvmprobe.results.record import Target

DEADLINE_SECONDS = 10
# A second of a machine that is never idle is 2.2e9 instructions, a minute of the emulator's time.
# A machine that has not ended its test after so many seconds for each of the deadline hangs.
_CPU_SECONDS = 300.0
_MOST_OUTPUT = 1 << 20


@dataclass(frozen=True, slots=True)
class Task:
    """A test to run.

    :ivar program: its path in the guest
    """

    id: str
    program: str


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a test.

    :ivar output: standard output and error, as they came
    :ivar blocks: the blocks of the kernel that it reached; None if they are not watched
    """

    record: ScenarioRecord
    output: bytes
    blocks: bytes | None = None


@dataclass(frozen=True, slots=True)
class SuiteHost:
    """The booted machine.

    :ivar coverage: what is watched of the kernel; None for nothing
    :ivar seconds: deadline of each test, in time of the machine
    """

    template: Template
    target: Target
    coverage: Coverage | None = None
    seconds: int = DEADLINE_SECONDS

    def run_all(
        self, tasks: Sequence[Task], jobs: int, started: Callable[[str], None]
    ) -> Iterator[Result]:
        """Run tests and yield what became of each, as they end.

        :param jobs: machines at the same time
        :param started: called when a test starts
        :raises BootFailed: the kernel does not boot, or has no KVM
        :raises LabError: the emulator fails
        """

        def one(task: Task) -> Result:
            started(task.id)
            return self.run(task)

        with ThreadPoolExecutor(jobs, "kvmprobe-suite") as pool:
            try:
                for done in as_completed([pool.submit(one, task) for task in tasks]):
                    yield done.result()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                self.template.close()
                raise

    def run(self, task: Task) -> Result:
        """Run one test."""
        with naming(self.target.variant), self.template.fork() as machine:
            began = time.monotonic()
            heard = len(machine.console_text)
            machine.send(f"{self.seconds}\t{task.program}")
            seen = _Seen()
            for event in machine.events(self.seconds * _CPU_SECONDS):
                seen.take(event)
            return self._result(task, seen, machine, heard, time.monotonic() - began)

    def _result(
        self, task: Task, seen: _Seen, machine: Machine, heard: int, seconds: float
    ) -> Result:
        outcome = seen.outcome(machine.console_text[heard:])
        name, reason = task.id.partition(".")[2], outcome.reason
        if outcome.verdict in FAILURES:
            reason = explained(name, self.target.kernel, reason)
        record = ScenarioRecord(
            task.id,
            name,
            "",
            self.target,
            outcome.verdict,
            reason,
            crash=_crash(seen.panic) if seen.panic else None,
            duration=seconds,
        )
        blocks = seen.blocks
        if self.coverage is not None and blocks is not None:
            blocks = self.coverage.complete(blocks)
        return Result(record, bytes(seen.output), blocks)


class _Seen:
    """What a machine reported."""

    def __init__(self) -> None:
        self.output = bytearray()
        self.ended = Ended()
        self.overran = False
        self.panic: PanicReport | None = None
        self.blocks: bytes | None = None
        self._hung = ""

    def take(self, event: object) -> None:
        match event:
            case Output(_, content):
                self.output += content[: _MOST_OUTPUT - len(self.output)]
            case Overran():
                self.overran = True
            case ProgramExited(status):
                self.ended = Ended(status)
            case ProgramKilled(number):
                self.ended = Ended(signal=number)
            case ConsolePanic(report):
                self.panic = report
            case BlocksReached(bits):
                self.blocks = bits
            case KvmMissing(text):
                raise LabError(f"the emulated host has no KVM: {text}")
            case MachineEnded(EndReason.EMULATOR_DIED | EndReason.STALLED as reason, text):
                raise LabError(f"{reason.value} {text}".strip())
            case MachineEnded(EndReason.HANG | EndReason.RESET as reason):
                self._hung = reason.value
            case _:
                pass

    def outcome(self, console: str) -> Outcome:
        """Return the verdict.

        :param console: the kernel's console during the test
        """
        output = self.output.decode("utf-8", "replace")
        if self.panic is not None:
            return Outcome(Verdict.CRASHED, "")
        if self._hung:
            return Outcome(Verdict.TIMED_OUT, f"{output}\n{self._hung}".lstrip())
        ended = Ended(self.ended.status, self.ended.signal, self.overran)
        outcome = outcome_of(ended, output)
        warned = [report.headline for report in console_text.find_reports(console)]
        if not warned:
            return outcome
        said = f"the kernel reported: {'; '.join(dict.fromkeys(warned))}"
        return Outcome(outcome.verdict, "; ".join(filter(None, (outcome.reason, said))))


def _crash(report: PanicReport) -> Crash:
    return Crash(0, None, report.headline, report.function, report.frames, report.text)
