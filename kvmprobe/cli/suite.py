"""``kvmprobe lab suite``: upstream's selftests on the emulated host, on one or several kernels."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from kvmprobe.cli.archives import archives_of
from kvmprobe.cli.exit_style import outcome
from kvmprobe.cli.files import write_result
from kvmprobe.cli.grammar.epilogs import SUITES, end_with
from kvmprobe.cli.grammar.shared import Number, add_coverage, add_jobs, add_sources, add_variant
from kvmprobe.cli.kernel_runs import NOT_RUN, first_attempt, new_directory, reason_of
from kvmprobe.cli.live_reports import ReportFile
from kvmprobe.cli.suite_run import complete
from kvmprobe.cli.terminal import print_line, progress
from kvmprobe.errors import ExitCode, RunDirectoryError
from kvmprobe.lab.kernel_sets import specs_of
from kvmprobe.reports.console import print_lines
from kvmprobe.reports.formats import format_of
from kvmprobe.reports.suite_table import SuiteColumn, suite_lines
from kvmprobe.results.matrix import Matrix, runs_in
from kvmprobe.results.run_directory import is_run_directory
from kvmprobe.results.run_document import read_outcomes, read_run
from kvmprobe.suites.running import DEADLINE_SECONDS

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from rich.console import Console

    from kvmprobe.results.matrix import MatrixKernel

COMMAND = ("lab", "suite")
_HOUR = 3600


def add_arguments(suite: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    end_with(suite, SUITES)
    suite.add_argument(
        "--kernel",
        action="append",
        required=True,
        metavar="SPEC",
        help="the kernel, as for `matrix --kernels`; several may be given, for one table",
    )
    suite.add_argument(
        "--source",
        metavar="PACKAGE",
        help="build the tests from this package: linux-source-7.3, linux-source-7.3=DEBIANVERSION "
        "or a .deb (default: the source of each kernel)",
    )
    add_sources(suite)
    add_variant(suite)
    add_jobs(suite, "the processors that this process may use")
    add_coverage(suite)
    suite.add_argument(
        "--select",
        action="append",
        default=[],
        metavar="GLOB",
        help="tests with this name, such as 'kselftest-kvm.*' or 'amx*'; several may be given "
        "(default: those of kselftest-kvm but *_perf_test, those of kselftest-x86 that are about "
        "FPU state)",
    )
    suite.add_argument(
        "--exclude",
        action="append",
        default=[],
        metavar="GLOB",
        help="without tests with this name; several may be given",
    )
    suite.add_argument(
        "--test-timeout",
        type=Number(int, 1, _HOUR, "seconds"),
        default=DEADLINE_SECONDS,
        metavar="SECONDS",
        help="deadline of each test, in time of the emulated host; of a test that is never idle, a "
        "second takes a minute (default: %(default)s)",
    )
    suite.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="keep the results below this new directory (default: a new one in "
        "$XDG_STATE_HOME/kvmprobe/runs)",
    )
    suite.add_argument(
        "--report",
        action="append",
        default=[],
        type=ReportFile.parse,
        metavar="FORMAT=FILE",
        help="write a report at the end, in a format of `kvmprobe report`; several may be given",
    )


def run(arguments: argparse.Namespace, console: Console) -> ExitCode:
    """Run the tests on each kernel, then print the table.

    :raises UsageError: there is no such kernel, source or test, or the directory cannot be created
    """
    with progress() as status:
        specs = specs_of(arguments.kernel, archives_of(arguments), status)
    path = new_directory(arguments.out, "suite")
    matrix = Matrix.of(arguments.argv, str(Path.cwd()), specs)
    matrix.write(path)
    return _carried_out(arguments, matrix, path, console)


def resume(begun: argparse.Namespace, console: Console) -> ExitCode:
    """Run the tests that have no result, with the arguments of the first attempt.

    :param begun: the arguments of ``resume``
    :raises UsageError: it cannot be continued with this kvmprobe, or from its directory
    """
    path = begun.run.resolve()
    arguments, matrix = first_attempt(path)
    arguments.jobs = begun.jobs or arguments.jobs
    return _carried_out(arguments, matrix, path, console)


def _carried_out(
    arguments: argparse.Namespace, matrix: Matrix, path: Path, console: Console
) -> ExitCode:
    try:
        for kernel in matrix.kernels:
            matrix = matrix.refusing(kernel.spec, _refused(arguments, kernel, path))
            matrix.write(path)
    except BaseException:
        print_line(f"kvmprobe: to continue: kvmprobe resume {path}")
        raise
    columns = [_column(kernel, path) for kernel in matrix.kernels]
    print_lines(console, [*suite_lines(columns), f"recorded in {path}"])
    _write_reports(arguments.report, path)
    return _status(columns)


def _refused(arguments: argparse.Namespace, kernel: MatrixKernel, path: Path) -> str:
    """Run what a kernel lacks; return why that is not possible, empty if it is."""
    try:
        complete(arguments, kernel.spec, path / kernel.folder)
    except RunDirectoryError:
        raise
    except NOT_RUN as error:
        return reason_of(error)
    return ""


def _column(kernel: MatrixKernel, path: Path) -> SuiteColumn:
    folder = path / kernel.folder
    read = read_outcomes(folder) if is_run_directory(folder) else None
    return SuiteColumn(kernel.spec, read, kernel.refused)


def _write_reports(wanted: Sequence[ReportFile], path: Path) -> None:
    if not wanted:
        return
    runs = [read_run(folder) for folder in runs_in(path)]
    for report in wanted:
        write_result("--report", report.path, format_of(report.format).render(runs))


def _status(columns: Sequence[SuiteColumn]) -> ExitCode:
    verdicts = {record.verdict for column in columns for record in column.records.values()}
    return outcome(verdicts)
