"""``kvmprobe replay``: scenarios from files, run and judged like those of the catalogue."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from kvmprobe.cli.attempt import first_attempt
from kvmprobe.cli.exit_style import outcome
from kvmprobe.cli.grammar.choices import Where
from kvmprobe.cli.grammar.host import add_host_checks, check_host
from kvmprobe.cli.grammar.shared import USABLE, add_device, add_jobs, add_kernel
from kvmprobe.cli.places import crash_policy, emulated_host, refuse_kernel_of_host
from kvmprobe.cli.scenario import documents_in, keep
from kvmprobe.cli.terminal import progress
from kvmprobe.errors import Unavailable
from kvmprobe.execution.place import ThisHost
from kvmprobe.execution.runner import Runner
from kvmprobe.reports.console import print_lines, show
from kvmprobe.reports.json_report import JsonReport
from kvmprobe.results.run_document import Ending

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Mapping, Sequence

    from rich.console import Console

    from kvmprobe.cli.attempt import Attempt
    from kvmprobe.cli.scenario import Document
    from kvmprobe.errors import ExitCode
    from kvmprobe.execution.place import Place
    from kvmprobe.model.host import HostProfile
    from kvmprobe.progress import Progress
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
    replay.add_argument(
        "--target",
        type=Where.parse,
        choices=list(Where),
        default=Where.AUTO,
        help="where to run: on this host, on the emulated host, or on this host and, what its KVM "
        "cannot do, on the emulated one (default: %(default)s)",
    )
    replay.add_argument("--json", type=Path, metavar="FILE", help="write the records to FILE")
    replay.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="keep the records and the scenarios in this new directory, for `report` and "
        "`bugreport`",
    )
    replay.add_argument(
        "--hazardous",
        action="store_true",
        help="on this host too, continue where the next step can PANIC it",
    )
    replay.set_defaults(all_crashes=True)  # each file was named
    add_host_checks(replay)
    add_device(replay)
    add_kernel(replay)
    add_jobs(replay, USABLE)


def run(arguments: argparse.Namespace, console: Console) -> ExitCode:
    """Run the scenarios in the files; nothing runs unless all of them can be read.

    :raises UsageError: the arguments contradict each other, a file cannot be read, or two
        scenarios have one id
    :raises ScenarioError: a file describes no scenario
    """
    refuse_kernel_of_host(arguments)
    started = time.monotonic()
    documents = documents_in(arguments.files)
    attempt = first_attempt(arguments, list(documents)) if arguments.out else None
    if attempt:
        keep(attempt.path, documents)
    replay = _Replay(arguments, documents, attempt)
    try:
        with progress() as status:
            replay.run(status)
    finally:
        replay.finish()
    records = list(replay.records.values())
    show(console, records, time.monotonic() - started)
    print_lines(console, replay.notes)
    if len(documents) > 1:
        print_lines(console, ["", *(_line(documents[r.id].path, r) for r in records)])
    if attempt:
        print_lines(console, [f"recorded in {attempt.path}"])
    return outcome({record.verdict for record in records})


def _line(path: Path, record: ScenarioRecord) -> str:
    known = f" ({', '.join(record.known)})" if record.known else ""
    return f"{path}: {record.id}: {record.verdict.value}{known}"


class _Replay:
    """The scenarios of the files, and their records in the order of the files."""

    def __init__(
        self,
        arguments: argparse.Namespace,
        documents: Mapping[str, Document],
        attempt: Attempt | None,
    ) -> None:
        self._arguments = arguments
        self._documents = documents
        self._attempt = attempt
        self._found: dict[str, ScenarioRecord] = {}
        self.notes: list[str] = []

    @property
    def records(self) -> dict[str, ScenarioRecord]:
        """The records by id."""
        return {name: self._found[name] for name in self._documents if name in self._found}

    def run(self, status: Progress) -> None:
        """Run all on this host, on the emulated host, or there what cannot run here."""
        target = self._arguments.target
        left = list(self._documents)
        if target is not Where.LAB and not self._arguments.kernel:
            try:
                self.notes += check_host(self._arguments)
                not_runnable = self._run_at(ThisHost(self._arguments.device), left, status)
            except Unavailable:
                if target is Where.HOST:
                    raise
            else:
                left = [record.id for record in not_runnable]
                if target is Where.HOST:
                    self._take_all(not_runnable)
                    left = []
        if left:
            with emulated_host(self._arguments, status) as place:
                self._take_all(self._run_at(place, left, status))

    def _run_at(self, place: Place, names: Sequence[str], status: Progress) -> list[ScenarioRecord]:
        """Return the records of those that cannot run at that place."""
        documents = [self._documents[name] for name in names]

        def judgeable(host: HostProfile) -> tuple[Scenario, ...]:
            for document in documents:
                document.check(host)
            return tuple(document.scenario for document in documents)

        ledger = self._attempt.ledger if self._attempt else None
        policy = crash_policy(self._arguments, place)
        runner = Runner(place, policy, self._take, status, ledger=ledger)
        runner.run(lambda _: True, judgeable)
        self.notes += runner.blind_spots
        return runner.not_runnable

    def _take(self, record: ScenarioRecord) -> None:
        self._found[record.id] = record
        if self._attempt:
            self._attempt.ledger.record(record)

    def _take_all(self, records: Iterable[ScenarioRecord]) -> None:
        for record in records:
            self._take(record)

    def finish(self) -> None:
        """Write the JSON document, and end the run that is kept."""
        left = [name for name in self._documents if name not in self._found]
        if self._arguments.json:
            report = JsonReport(self._arguments.json, sys.argv)
            for record in self.records.values():
                report.add(record)
            report.finish(left, complete=not left)
            report.close()
        if self._attempt:
            ending = Ending.CUT_SHORT if left else Ending.COMPLETE
            self._attempt.ledger.finish(ending, left, self.notes)
            self._attempt.close()
