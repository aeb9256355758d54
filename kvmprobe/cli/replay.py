"""``kvmprobe replay``: scenarios from files, run and judged like those of the catalogue."""

from __future__ import annotations

import contextlib
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from kvmprobe.cli.attempt import first_attempt
from kvmprobe.cli.grammar.host import add_host_checks, add_target
from kvmprobe.cli.grammar.run import GIVEN
from kvmprobe.cli.grammar.shared import add_coverage, add_device, add_emulated
from kvmprobe.cli.places import refuse_kernel_of_host
from kvmprobe.cli.run import carry_out
from kvmprobe.cli.scenario import documents_in, keep
from kvmprobe.reports.console import print_lines
from kvmprobe.results.run_document import read_outcomes

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from rich.console import Console

    from kvmprobe.cli.attempt import Attempt
    from kvmprobe.errors import ExitCode
    from kvmprobe.model.host import HostProfile
    from kvmprobe.results.record import ScenarioRecord
    from kvmprobe.scenarios.scenario import Scenario


def add_arguments(replay: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    replay.add_argument(
        "files",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="a scenario, as `explain --json` writes it, or a directory of such files ending in "
        ".json; all of them run in one boot of the emulated host, if none kills it",
    )
    add_target(replay)
    replay.add_argument("--json", type=Path, metavar="FILE", help="write the records to FILE")
    replay.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="keep the records and the scenarios in this new directory, for `report` and "
        "`bugreport`",
    )
    add_host_checks(replay)
    add_device(replay)
    add_emulated(replay)
    add_coverage(replay)
    replay.set_defaults(**GIVEN)


def run(arguments: argparse.Namespace, console: Console) -> ExitCode:
    """Run the scenarios in the files; nothing runs unless all of them can be read.

    :raises UsageError: the arguments contradict each other, a file cannot be read, or two
        scenarios have one id
    :raises ScenarioError: a file describes no scenario
    """
    refuse_kernel_of_host(arguments)
    documents = documents_in(arguments.files)

    def judgeable(host: HostProfile) -> Sequence[Scenario]:
        for document in documents.values():
            document.check(host)
        return [document.scenario for document in documents.values()]

    with _attempt(arguments, list(documents)) as attempt:
        keep(attempt.path, documents)
        code = carry_out(arguments, attempt, console, listed=judgeable)
        if len(documents) > 1:
            records = {record.id: record for record in read_outcomes(attempt.path).records}
            lines = (_line(documents[i].path, records[i]) for i in documents if i in records)
            print_lines(console, ["", *lines])
    return code


@contextlib.contextmanager
def _attempt(arguments: argparse.Namespace, planned: Sequence[str]) -> Iterator[Attempt]:
    """Begin a run, in a temporary directory unless ``--out`` names one."""
    if arguments.out:
        yield first_attempt(arguments, planned, arguments.out)
        return
    with tempfile.TemporaryDirectory(prefix="kvmprobe-replay-") as folder:
        attempt = first_attempt(arguments, planned, Path(folder) / "run")
        yield replace(attempt, temporary=True)


def _line(path: Path, record: ScenarioRecord) -> str:
    known = f" ({', '.join(record.known)})" if record.known else ""
    return f"{path}: {record.id}: {record.verdict.value}{known}"
