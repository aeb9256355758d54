"""``kvmprobe judge``: what is wrong with the calls that a VMM was recorded to make."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from kvmprobe.cli import judge_replay
from kvmprobe.cli.grammar.epilogs import end_with
from kvmprobe.cli.judged_host import judged_hosts, recorded_host
from kvmprobe.cli.terminal import print_line, progress
from kvmprobe.errors import ExitCode, RecordingTruncated, ReportFileError
from kvmprobe.recordings.reader import RecordingReader
from kvmprobe.reports.console import print_lines
from kvmprobe.reports.vmm_files import Judgement, as_json, as_junit, as_sarif
from kvmprobe.reports.vmm_review import review_lines
from kvmprobe.vmm.review import Reviewer

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from rich.console import Console

    from kvmprobe.recordings.entries import Entry

_STEP = 10_000
_FINDINGS = """\
what is found, for each vCPU, when its guest is first entered:
  error    a call takes the host down; a restored value is lost, by which
           call; a value that was saved is not restored; permission is
           missing; an image is cut short; a failed call is ignored; a
           call fails on the judged kernel
  warning  a value that the guest's CPUID offers is not restored; a call
           takes hosts with another kernel down
  note     two neighbouring calls do not commute; the recorded kernel did
           what the model does not expect
With --cpu, the processor of each host lacks what that one of the emulated
host lacks.
Calls that the model does not cover are listed, and not judged.  What a
guest does is not known: after its first entry only errors are looked at.
The exit status is 1 if there is an error or a warning.
"""
_REPLAY = """\
A replay makes the recorded calls in one process, in the order in which
they returned, up to the first one that can panic this host (--hazardous
goes on).  Each memory slot has one page of zeros, and each KVM_RUN exits
at once.  Calls that need files of the program, devices or guest memory
are listed, and not made.  What is found:
  error    a call that succeeded in the recording fails; the host dies, or
           logs a fault; the replay does not come to its end
  warning  the kernel's answer is not what the model expects; the replay
           stopped before a call that can panic the host
  note     a call returns or reads something else than in the recording:
           because of another processor or KVM, of a known difference of
           the kernels, or of what the model has no rule for
"""


def add_arguments(judge: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    judge.add_argument(
        "recordings", type=Path, nargs="+", metavar="RECORDING", help="a file of `kvmprobe trace`"
    )
    judge.add_argument(
        "--kernel",
        action="append",
        default=[],
        metavar="RUN|RELEASE",
        help="judge for the host of a kept run, or for a release: its known defects are those of "
        "its number, the rest is as recorded (default: the recorded kernel); of a replay: the "
        "emulated host's kernel, as for `kvmprobe run`; can be repeated",
    )
    judge.add_argument(
        "--defect",
        action="append",
        default=[],
        metavar="ID",
        help="judge for a kernel with this known defect (B1, O1, ...) as well",
    )
    judge.add_argument("--json", action="store_true", help="print a JSON document")
    judge.add_argument("--junit", type=Path, metavar="FILE", help="write JUnit XML as well")
    judge.add_argument("--sarif", type=Path, metavar="FILE", help="write SARIF 2.1.0 as well")
    judge_replay.add_arguments(judge)
    end_with(judge, _FINDINGS, _REPLAY)


def run(arguments: argparse.Namespace, console: Console) -> ExitCode:
    """Judge recordings, which needs neither KVM nor root, or replay them.

    :raises UsageError: a recording cannot be read or replayed, or a kernel is not known
    :raises ReportFileError: a file cannot be written
    """
    judge_replay.check(arguments)
    judgements = list(
        _replayed(arguments)
        if arguments.replay
        else itertools.chain.from_iterable(
            _judged(path, arguments) for path in arguments.recordings
        )
    )
    for path, text in ((arguments.junit, as_junit), (arguments.sarif, as_sarif)):
        if path is not None:
            _write(path, text(judgements))
    if arguments.json:
        sys.stdout.write(as_json(judgements) + "\n")
    else:
        for one in judgements:
            print_lines(console, [f"{one.recording}:", *review_lines(one.review, one.kernel)])
    return ExitCode.DIVERGED if any(one.fails for one in judgements) else ExitCode.OK


def _judged(path: Path, arguments: argparse.Namespace) -> Iterator[Judgement]:
    with RecordingReader(path) as reader:
        asked = (arguments.kernel, arguments.defect, arguments.cpu)
        hosts = judged_hosts(reader.host, reader.header.kernel, *asked)
        reviewers = {host.name: Reviewer(host.profile, host.kernel) for host in hosts}
        for entry in _entries(path, reader):
            for reviewer in reviewers.values():
                reviewer.take(entry)
    for name, reviewer in reviewers.items():
        yield Judgement(str(path), name, reviewer.finished())


def _replayed(arguments: argparse.Namespace) -> Iterator[Judgement]:
    recordings: judge_replay.Recordings = {}
    for path in arguments.recordings:
        with RecordingReader(path) as reader:
            host, _ = recorded_host(reader.host, reader.header.kernel)
            recordings[path] = host, list(_entries(path, reader))
    return judge_replay.replays(recordings, arguments)


def _entries(path: Path, reader: RecordingReader) -> Iterator[Entry]:
    """Yield the entries up to the end, or to where the recording was truncated."""
    with progress() as status:
        try:
            for number, entry in enumerate(reader, 1):
                if number == _STEP:
                    status.stage(f"judge {path}")
                if number % _STEP == 0:
                    status.advance(number, 0)
                yield entry
        except RecordingTruncated as error:
            print_line(f"kvmprobe: {error}; judged up to there")


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ReportFileError(f"{path}: {error.strerror}") from error
