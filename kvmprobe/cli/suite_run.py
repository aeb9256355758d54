"""The tests of a suite on one kernel: a run directory that a later attempt can complete."""

from __future__ import annotations

import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from kvmprobe import __version__
from kvmprobe.cli.archives import archives_of, emulator_of
from kvmprobe.cli.places import jobs_of, variant_of
from kvmprobe.cli.terminal import progress
from kvmprobe.errors import BootFailed, NoCoverage, UsageError
from kvmprobe.execution.journaling import Journaling, now
from kvmprobe.execution.place import Risk
from kvmprobe.host.files import HostFiles
from kvmprobe.lab import kernels
from kvmprobe.lab.coverage import Coverage
from kvmprobe.lab.template import Template
from kvmprobe.lab.watched_kernel import KernelReader
from kvmprobe.results.history import History
from kvmprobe.results.journal import EntryType
from kvmprobe.results.record import ScenarioRecord, Target
from kvmprobe.results.run_directory import RunDirectory, is_run_directory
from kvmprobe.results.run_document import Ending
from kvmprobe.results.verdict import Verdict
from kvmprobe.suites import build
from kvmprobe.suites.image import SuiteImage, guest_path
from kvmprobe.suites.running import SuiteHost, Task
from kvmprobe.suites.selecting import selected, without_a_match
from kvmprobe.suites.source import source_for

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from kvmprobe.lab.archive import Archives
    from kvmprobe.lab.emulator import Emulator
    from kvmprobe.lab.kernel_store import Kernel
    from kvmprobe.progress import Progress
    from kvmprobe.suites.build import Suite
    from kvmprobe.suites.selftest import Selftest


def complete(arguments: argparse.Namespace, spec: str, folder: Path) -> None:
    """Run the tests that have no result yet.

    :param folder: the run's directory; created if there is none
    :raises LabError: the suite cannot be built, or the kernel or the emulator is not available
    :raises UsageError: no such test, or the directory has results of another kernel
    """
    archives = archives_of(arguments)
    with progress() as status:
        kernel = kernels.resolve(spec, modules_dir=None, archives=archives, progress=status)
        suite = build.ensure(
            source_for(kernel, arguments.source, archives, status), archives, status
        )
        tests = selected(suite.tests, arguments.select, arguments.exclude)
        built = emulator_of(arguments, archives, status)
        target = Target("lab", kernel.label, kernel.source, variant_of(arguments))
        attempt = _Attempt(arguments, folder, target, suite, tests)
        try:
            host = _host(arguments, kernel, built, attempt, archives, status)
            _run(attempt, host, jobs_of(arguments), status)
        finally:
            attempt.close()


class _Attempt:
    """The run's directory, and the tests that are left.

    :ivar left: without a result
    """

    def __init__(
        self,
        arguments: argparse.Namespace,
        folder: Path,
        target: Target,
        suite: Suite,
        tests: Sequence[Selftest],
    ) -> None:
        self.target = target
        self.suite = suite
        self.notes = [f"tests of {suite.source.name}"]
        globs = (*arguments.select, *arguments.exclude)
        if missing := without_a_match(suite.tests, globs):
            self.notes.append(f"no test of this source matches {', '.join(missing)}")
        others = [] if arguments.select else [t.name for t in suite.tests if t not in tests]
        if others:
            self.notes.append(f"not selected: {', '.join(others)}")
        begin = {
            "tool": f"kvmprobe {__version__}",
            "command": sys.argv,
            "boot_id": HostFiles().boot_id(),
            "time": now(),
            "planned": [test.id for test in tests],
        }
        if is_run_directory(folder):
            self.directory = RunDirectory.open(folder)
            history = History.of(self.directory.entries())
            _require_same(folder, history, target)
            done = {test_id for _, test_id in history.records}
            self.directory.journal.append(EntryType.BEGIN, begin)
        else:
            done = set()
            begin |= {"argv": list(arguments.argv), "directory": str(Path.cwd())}
            begin |= {"run_id": str(uuid.uuid4())}
            self.directory = RunDirectory.create(folder, begin)
        self.ledger = Journaling(self.directory)
        self.left = [test for test in tests if test.id not in done]

    def close(self) -> None:
        self.directory.close()


def _require_same(folder: Path, history: History, target: Target) -> None:
    """Check that earlier results are of the same kernel.

    :raises UsageError: they are not
    """
    for earlier, _ in history.records:
        if earlier != target:
            raise UsageError(
                f"{folder}: has results of {earlier.description} ({earlier.source}), and this is "
                f"{target.description} ({target.source}); start anew with --out"
            )


def _host(
    arguments: argparse.Namespace,
    kernel: Kernel,
    built: Emulator,
    attempt: _Attempt,
    archives: Archives,
    status: Progress,
) -> SuiteHost:
    suite, target = attempt.suite, attempt.target
    programs = [suite.program(test) for test in attempt.left if not test.problem]
    template = Template(built, SuiteImage(kernel, built, programs, target.variant))
    attempt.ledger.place(target, Risk.EXPENDABLE, suite.source.facts)
    coverage = None
    if arguments.coverage and programs:
        try:
            reader = KernelReader(archives.cache, built, target.variant)
            coverage = Coverage(reader.functions(kernel, status))
        except (NoCoverage, BootFailed) as reason:
            attempt.notes.append(f"coverage was not measured: {reason}")
        else:
            attempt.ledger.watches(coverage.functions)
            template = template.prepared_by(coverage.arm)
    return SuiteHost(template, target, coverage, arguments.test_timeout)


def _run(attempt: _Attempt, host: SuiteHost, jobs: int, status: Progress) -> None:
    tests, ledger = attempt.left, attempt.ledger
    for test in tests:
        if test.problem:
            ledger.record(_not_run(test, attempt.target))
    tasks = [Task(t.id, guest_path(attempt.suite.program(t))) for t in tests if not t.problem]
    label = f"selftests on {attempt.target.kernel}"
    status.stage(label)
    try:
        for number, result in enumerate(host.run_all(tasks, jobs, status.now), 1):
            ledger.keep_outputs(result.record.id, {"0.0": result.output})
            if result.blocks is not None:
                ledger.reached(result.record.id, result.blocks)
            ledger.record(result.record)
            status.advance(number, len(tasks))
    finally:
        host.template.close()
    if host.coverage is not None and host.coverage.problem:
        attempt.notes.append(f"coverage was not measured: {host.coverage.problem}")
    ledger.finish(Ending.COMPLETE, (), attempt.notes)


def _not_run(test: Selftest, target: Target) -> ScenarioRecord:
    return ScenarioRecord(test.id, test.name, "", target, Verdict.SKIPPED, test.problem)
