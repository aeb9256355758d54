"""``kvmprobe bisect``: the first packaged kernel with a defect, without it, or with a behaviour."""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from kvmprobe.cli.archives import archives_of
from kvmprobe.cli.files import write_result
from kvmprobe.cli.grammar.epilogs import PACKAGED_BISECTION, end_with
from kvmprobe.cli.grammar.parser import parser
from kvmprobe.cli.grammar.shared import add_cold, add_sources, add_variant
from kvmprobe.cli.kernel_runs import NOT_RUN, complete, new_directory, reason_of, words_for
from kvmprobe.cli.pinned import Pin
from kvmprobe.cli.places import emulated_host
from kvmprobe.cli.select import all_ids
from kvmprobe.cli.terminal import print_line, progress
from kvmprobe.errors import ExitCode, UsageError
from kvmprobe.execution.runner import Hazardous, Runner
from kvmprobe.lab import kernels
from kvmprobe.lab.packages import version_key
from kvmprobe.model.behaviours import Behaviour
from kvmprobe.reports.bisection import Tried, result_json, result_lines
from kvmprobe.reports.console import print_lines
from kvmprobe.reports.excerpt import headline
from kvmprobe.results.known import known_defects
from kvmprobe.results.releases import series_of
from kvmprobe.results.run_document import read_outcomes
from kvmprobe.results.verdict import Verdict
from kvmprobe.search.bisection import Bisection, Seen

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from kvmprobe.results.record import ScenarioRecord

_PASSED_ON = ("archive", "tarball", "cpu", "cpus", "append", "cold")


def _behaviour(text: str) -> Behaviour:
    """Return the behaviour with that name, or that a known defect with that name is."""
    names = {behaviour.name: behaviour for behaviour in Behaviour}
    names |= {name: behaviour for behaviour, d in known_defects().items() for name in d.names}
    if text not in names:
        valid = ", ".join(behaviour.name for behaviour in Behaviour)
        raise argparse.ArgumentTypeError(f"{text!r} is no behaviour; there are {valid}")
    return names[text]


def add_arguments(bisect: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    end_with(bisect, PACKAGED_BISECTION)
    for end, meaning in (("bad", "shows the failure or behaviour"), ("good", "does not")):
        bisect.add_argument(
            f"--{end}", required=True, metavar="SPEC", help=f"a packaged kernel that {meaning}"
        )
    criterion = bisect.add_mutually_exclusive_group(required=True)
    criterion.add_argument(
        "--scenario",
        metavar="SCENARIO",
        help="a kernel is bad if this scenario fails as it does on the --bad one",
    )
    criterion.add_argument(
        "--behaviour",
        type=_behaviour,
        metavar="NAME",
        help="a kernel is bad if probes find this behaviour: a name of those that `probe` prints, "
        "or a known defect",
    )
    add_sources(bisect)
    add_variant(bisect)
    add_cold(bisect)
    bisect.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="keep the runs of --scenario below this new directory (default: a new one in "
        "$XDG_STATE_HOME/kvmprobe/runs)",
    )
    bisect.add_argument("--json", type=Path, metavar="FILE", help="write the result as JSON")


def run(arguments: argparse.Namespace, console: Console) -> ExitCode:
    """Test kernels until the first one with the change is known, or no test can narrow it.

    :raises UsageError: there is no such scenario, or an end is not what it was called
    :raises KernelNotFound: an end is not packaged with its modules
    """
    if arguments.scenario and arguments.scenario not in all_ids():
        raise UsageError(f"unknown scenario {arguments.scenario!r}; `kvmprobe list` lists them")
    if arguments.behaviour and arguments.out:
        raise UsageError("--out is for the runs of --scenario; probing makes none")
    with progress() as status:
        archives = archives_of(arguments)
        ladder = kernels.ladder(arguments.bad, arguments.good, archives, status)
    bad, good = ladder.ends
    if bad == good:
        raise UsageError(f"--bad and --good are the same kernel, {bad}")
    bisection = Bisection(ladder.labels, version_key(bad) < version_key(good))
    print_lines(console, _plan(bisection, bad, good))
    test = _test_of(arguments)
    tested: dict[str, Tried] = {}
    while (label := bisection.next) is not None:
        print_line(f"kvmprobe: test {len(tested) + 1}: {label}")
        tested[label] = test(label)
        bisection = bisection.with_result(label, tested[label].seen)
        print_lines(console, [tested[label].line])
    print_lines(console, ["", *result_lines(bisection, tested, ladder.lacking)])
    if arguments.json:
        result = result_json(bisection, tested, ladder.lacking)
        write_result("--json", arguments.json, json.dumps(result, indent=1))
    return _status(bisection)


def _plan(bisection: Bisection, bad: str, good: str) -> list[str]:
    count, most = len(bisection.rungs), bisection.most_tests
    lines = [f"{count} packaged kernels, {bad} (bad) to {good} (good): at most {most} tests"]
    series = list(dict.fromkeys(map(series_of, bisection.rungs)))
    if len(series) > 1:
        names = ", ".join(".".join(map(str, one)) for one in series)
        lines.append(
            f"they are of several series, {names}: a fix that was backported is in each by itself, "
            "so the result is one change of possibly several"
        )
    return lines


def _test_of(arguments: argparse.Namespace) -> Callable[[str], Tried]:
    if arguments.behaviour is not None:
        return _Behaves(arguments).test
    out = new_directory(arguments.out, "bisect")
    print_line(f"kvmprobe: runs are kept in {out}")
    return _Fails(arguments, out).test


def _status(found: Bisection) -> ExitCode:
    if not found.contradiction:
        return ExitCode.NOTHING_RAN if found.untestable_between else ExitCode.OK
    is_untestable = found.seen[found.contradiction] is Seen.UNTESTABLE
    return ExitCode.NOTHING_RAN if is_untestable else ExitCode.USAGE


@dataclass
class _Fails:
    """Whether a scenario fails as it did on the first kernel.

    :ivar pinned: the failure that is looked for; None before the first test
    """

    arguments: argparse.Namespace
    out: Path
    pinned: Pin | None = None

    def test(self, kernel: str) -> Tried:
        """Run the scenario on a kernel."""
        chosen = ["--select", f"id:{self.arguments.scenario}", "--observe", "each", "--jobs", "1"]
        words = [*words_for(self.arguments, kernel, _PASSED_ON), *chosen]
        folder = self.out / kernel
        if reason := complete(words, folder, jobs=None):
            return Tried(kernel, Seen.UNTESTABLE, reason)
        records = read_outcomes(folder).records
        found = Tried(kernel, Seen.UNTESTABLE, "no result", next(iter(records), None), str(folder))
        return found if found.record is None else self._judged(found, found.record)

    def _judged(self, found: Tried, record: ScenarioRecord) -> Tried:
        own = Pin.of(record)
        # The first kernel is the one that was called bad.
        self.pinned = self.pinned or own
        if self.pinned is not None and self.pinned.is_shown_by(record):
            reason = f"{record.label}; {self.pinned.signature}"
            return replace(found, seen=Seen.BAD, reason=reason)
        if record.verdict is Verdict.PASS:
            return replace(found, seen=Seen.GOOD, reason="passes")
        another = f"another failure, {own}" if own else headline(record)
        return replace(found, reason=another)


@dataclass
class _Behaves:
    """Whether probes find a behaviour."""

    arguments: argparse.Namespace

    def test(self, kernel: str) -> Tried:
        """Probe a kernel."""
        wanted = self.arguments.behaviour
        words = words_for(self.arguments, kernel, _PASSED_ON)
        try:
            with progress() as status, emulated_host(parser(words).parse_args(words), status) as at:
                runner = Runner(at, Hazardous.STOP, lambda _: None, status)
                preflight = runner.examined()
        except NOT_RUN as error:
            return Tried(kernel, Seen.UNTESTABLE, reason_of(error))
        how = f"{wanted.name} ({wanted.value.detection})"
        if wanted in preflight.undetermined:
            return Tried(kernel, Seen.UNTESTABLE, f"probes cannot tell {how}")
        if wanted in preflight.profile.behaviours:
            return Tried(kernel, Seen.BAD, f"has {how}")
        return Tried(kernel, Seen.GOOD, f"does not have {how}")
