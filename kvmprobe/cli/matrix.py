"""``kvmprobe matrix``: the same scenarios on several kernels, as one table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from kvmprobe.cli.archives import archives_of
from kvmprobe.cli.derived import expanded
from kvmprobe.cli.exit_style import outcome
from kvmprobe.cli.files import write_result
from kvmprobe.cli.grammar.choices import Observe, OfKnown
from kvmprobe.cli.grammar.epilogs import MATRICES, end_with
from kvmprobe.cli.grammar.run import add_derived
from kvmprobe.cli.grammar.selection import SELECTION_HELP, add_selection
from kvmprobe.cli.grammar.shared import (
    add_cold,
    add_coverage,
    add_fleet,
    add_jobs,
    add_sources,
    add_variant,
)
from kvmprobe.cli.kernel_runs import first_attempt, new_directory, words_for
from kvmprobe.cli.places import jobs_of
from kvmprobe.cli.run import check_campaign
from kvmprobe.cli.select import all_ids, wanted
from kvmprobe.cli.side_by_side import KernelRun, at_once, reasons
from kvmprobe.cli.terminal import print_line, progress
from kvmprobe.errors import ExitCode, UsageError
from kvmprobe.lab.kernel_sets import ALL, NEWEST_OF_EACH, specs_of
from kvmprobe.reports.console import print_lines
from kvmprobe.reports.kernel_table import KernelColumn, table_json, table_lines
from kvmprobe.results.matrix import Matrix
from kvmprobe.results.run_directory import is_run_directory
from kvmprobe.results.run_document import read_outcomes

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from rich.console import Console

    from kvmprobe.results.matrix import MatrixKernel
    from kvmprobe.results.verdict import Verdict

# Options of `run` that each kernel's run is given as they are.
_PASSED_ON = (
    "select", "exclude", "observe", "relation", "known", "archive", "tarball", "cpu", "cpus",
    "append", "jobs", "cold", "coverage", "scheduler", "tls", "patience",
)  # fmt: skip


def add_arguments(matrix: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    end_with(matrix, MATRICES, SELECTION_HELP)
    matrix.add_argument(
        "--kernels",
        action="append",
        required=True,
        metavar="SPEC[,SPEC...]",
        help="the kernels, in the order of the columns: each as for --kernel of other commands, "
        f"{NEWEST_OF_EACH} for the newest packaged kernel of each series, or {ALL} for every "
        "packaged version; several may be given",
    )
    add_sources(matrix)
    add_variant(matrix)
    add_jobs(matrix, "the processors that this process may use")
    add_cold(matrix)
    add_coverage(matrix)
    add_fleet(matrix)
    add_selection(matrix)
    add_derived(matrix)
    matrix.add_argument(
        "--known",
        choices=[of.value for of in OfKnown],
        default=OfKnown.FAIL,
        help="as for `run` (default: %(default)s)",
    )
    matrix.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="keep the runs below this new directory (default: a new one in "
        "$XDG_STATE_HOME/kvmprobe/runs)",
    )
    matrix.add_argument("--json", type=Path, metavar="FILE", help="write the table as JSON")


def run(arguments: argparse.Namespace, console: Console) -> ExitCode:
    """Run the scenarios on each kernel, then print the table.

    :raises UsageError: there is no such scenario, or the directory cannot be created
    """
    if arguments.scheduler is not None:
        check_campaign(arguments)
    planned = _planned(arguments)
    with progress() as status:
        specs = specs_of(arguments.kernels, archives_of(arguments), status)
    path = new_directory(arguments.out, "matrix")
    matrix = Matrix.of(arguments.argv, str(Path.cwd()), specs)
    matrix.write(path)
    return _carried_out(arguments, matrix, path, planned, console)


def resume(begun: argparse.Namespace, console: Console) -> ExitCode:
    """Run what a matrix lacks, with the arguments of its first attempt; then print the table.

    :param begun: the arguments of ``resume``
    :raises UsageError: it cannot be continued with this kvmprobe, or from its directory
    """
    if begun.timeout:
        raise UsageError(f"--timeout is for a run; {begun.run} is a matrix")
    path = begun.run.resolve()
    arguments, matrix = first_attempt(path)
    arguments.jobs = begun.jobs or arguments.jobs
    arguments.scheduler = begun.scheduler or arguments.scheduler
    return _carried_out(arguments, matrix, path, _planned(arguments), console)


def _planned(arguments: argparse.Namespace) -> list[str]:
    chosen = filter(wanted(arguments.select, arguments.exclude), all_ids())
    return expanded(chosen, Observe(arguments.observe), arguments.relation)


def _carried_out(
    arguments: argparse.Namespace,
    matrix: Matrix,
    path: Path,
    planned: Sequence[str],
    console: Console,
) -> ExitCode:
    jobs = jobs_of(arguments)
    most = at_once(len(matrix.kernels), jobs)
    if not arguments.scheduler:
        arguments.jobs = max(1, jobs // most)
    runs = [
        KernelRun(
            kernel.spec,
            tuple(words_for(arguments, kernel.spec, _PASSED_ON)),
            str(path / kernel.folder),
            arguments.jobs,
        )
        for kernel in matrix.kernels
    ]
    try:
        for spec, reason in reasons(runs, most):
            matrix = matrix.refusing(spec, reason)
            matrix.write(path)
    except BaseException:
        print_line(f"kvmprobe: to continue: kvmprobe resume {path}")
        raise
    columns = [_column(kernel, path) for kernel in matrix.kernels]
    print_lines(console, [*table_lines(columns, planned), f"recorded in {path}"])
    if arguments.json:
        document = json.dumps(table_json(columns, planned), indent=1)
        write_result("--json", arguments.json, document)
    return _status(columns, planned)


def _column(kernel: MatrixKernel, path: Path) -> KernelColumn:
    folder = path / kernel.folder
    read = read_outcomes(folder) if is_run_directory(folder) else None
    return KernelColumn(kernel.spec, read, kernel.refused)


def _status(columns: Sequence[KernelColumn], planned: Sequence[str]) -> ExitCode:
    verdicts: set[Verdict] = {r.verdict for column in columns for r in column.records.values()}
    lost = any(column.without_result(planned) for column in columns)
    code = outcome(verdicts)
    return ExitCode.DIVERGED if lost and code is not ExitCode.TOOL_BUG else code
