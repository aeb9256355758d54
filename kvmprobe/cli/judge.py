"""``kvmprobe judge``: what is wrong with the calls that a VMM was recorded to make."""

from __future__ import annotations

import itertools
import sys
from typing import TYPE_CHECKING

from kvmprobe.cli.grammar.judge import add_arguments, check
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
    from pathlib import Path

    from rich.console import Console

    from kvmprobe.recordings.entries import Entry

__all__ = ["add_arguments", "run"]

_STEP = 10_000
# Reading and judging in turns of single entries evict each other from the processor's caches.
_AHEAD = 256


def run(arguments: argparse.Namespace, console: Console) -> ExitCode:
    """Judge recordings, which needs neither KVM nor root, or replay them.

    :raises UsageError: a recording cannot be read or replayed, or a kernel is not known
    :raises ReportFileError: a file cannot be written
    """
    check(arguments)
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
    # Judging alone drives no kernel.
    from kvmprobe.cli import judge_replay  # noqa: PLC0415

    recordings: judge_replay.Recordings = {}
    for path in arguments.recordings:
        with RecordingReader(path) as reader:
            host, _ = recorded_host(reader.host, reader.header.kernel)
            recordings[path] = host, list(_entries(path, reader))
    return judge_replay.replays(recordings, arguments)


def _entries(path: Path, reader: RecordingReader) -> Iterator[Entry]:
    """Yield the entries up to the end, or to where the recording was truncated."""
    with progress() as status:
        number = 0
        for batch in _batches(reader):
            yield from batch
            before, number = number, number + len(batch)
            if before < _STEP <= number:
                status.stage(f"judge {path}")
            if before // _STEP != number // _STEP:
                status.advance(number, 0)


def _batches(reader: RecordingReader) -> Iterator[list[Entry]]:
    batch: list[Entry] = []
    try:
        for entry in reader:
            batch.append(entry)
            if len(batch) == _AHEAD:
                yield batch
                batch = []
    except RecordingTruncated as error:
        yield batch
        print_line(f"kvmprobe: {error}; judged up to there")
    else:
        yield batch


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ReportFileError(f"{path}: {error.strerror}") from error
