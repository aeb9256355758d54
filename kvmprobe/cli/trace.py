"""``kvmprobe trace``: record the KVM calls of a program, and show a recording.

The exit status is the program's; kvmprobe's own if the program could not be recorded.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kvmprobe import __version__
from kvmprobe.cli.fit_host import notice
from kvmprobe.cli.grammar.epilogs import TRACING, end_with
from kvmprobe.cli.grammar.shared import Number, add_device
from kvmprobe.errors import ExitCode, Unavailable, UsageError
from kvmprobe.execution.driver import Driver
from kvmprobe.execution.place import ThisHost
from kvmprobe.execution.preflight import profile_of
from kvmprobe.execution.probing import examine
from kvmprobe.host.doctor.errata import Processor
from kvmprobe.host.files import HostFiles
from kvmprobe.recordings.lines import Cpu, Header
from kvmprobe.recordings.reader import RecordingReader
from kvmprobe.recordings.schema import recording_schema
from kvmprobe.recordings.writer import RecordingWriter
from kvmprobe.reports.console import print_lines
from kvmprobe.reports.recording.story import story
from kvmprobe.results.schema import RECORDING
from kvmprobe.tracer.recorder import ImageSizes, Recorder
from kvmprobe.tracer.refusals import check_command, check_process
from kvmprobe.tracer.transcription import Transcription
from kvmprobe.xstate.layout import Layout

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rich.console import Console

_SEPARATOR, _SHOW, _SCHEMA = "--", "show", "schema"
_SUFFIX = ".recording.jsonl"
_PAGE = 4096
# Characters; a line has at most a MiB.
_LONGEST_COMMAND = 1 << 16
_USAGE = """%(prog)s [-o FILE] -- COMMAND [ARGUMENT]...
       %(prog)s [-o FILE] --pid PID
       %(prog)s show FILE
       %(prog)s schema"""


def add_arguments(trace: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    trace.usage = _USAGE
    end_with(trace, TRACING)
    trace.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="FILE",
        help=f"where to write the recording (default: PROGRAM{_SUFFIX}, here)",
    )
    trace.add_argument(
        "--pid",
        type=Number(int, 1, 1 << 22, "a process id"),
        metavar="PID",
        help="record a running process until ^C or its end; every system call of it stops",
    )
    add_device(trace)
    trace.add_argument(
        "words",
        nargs=argparse.REMAINDER,
        metavar="-- COMMAND | show FILE | schema",
        help="the program and its arguments; or print a recording, call by call; or print the "
        "JSON Schema of a recording's lines",
    )


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Record, or show.

    :raises UsageError: the arguments contradict each other, or a file cannot be read or written
    :raises Unavailable: the program cannot be traced
    """
    match arguments.words:
        case [] if arguments.pid is not None:
            return _record_process(arguments)
        case [word, _, *_] if word == _SEPARATOR and arguments.pid is None:
            return _record_command(arguments, arguments.words[1:])
        case [word, path] if word == _SHOW:
            with RecordingReader(Path(path)) as recording:
                for lines in story(recording, _layout(recording.host)):
                    print_lines(console, lines)
            return ExitCode.OK
        case [word] if word == _SCHEMA:
            console.print_json(json.dumps(recording_schema()))
            return ExitCode.OK
    raise UsageError(
        "expected -- COMMAND, --pid PID, show FILE or schema; "
        "for example: kvmprobe trace -- qemu-system-x86_64 -accel kvm"
    )


def _layout(host: Mapping[str, Any] | None) -> Layout:
    """Return the layout of XSAVE images on the recorded host; without facts, of FP and SSE."""
    try:
        return profile_of(dict(host or {})).layout
    except (LookupError, TypeError, ValueError, AttributeError, Unavailable):
        return Layout.of(())


def _record_command(arguments: argparse.Namespace, command: list[str]) -> int:
    check_command(command, HostFiles())
    path = arguments.output or Path(Path(command[0]).name + _SUFFIX)
    return _record(arguments, path, command, ["start", *command])


def _record_process(arguments: argparse.Namespace) -> int:
    files, pid = HostFiles(), arguments.pid
    check_process(pid, files)
    command = (files.content(f"/proc/{pid}/cmdline") or b"").decode(errors="replace")
    path = arguments.output or Path(f"{pid}{_SUFFIX}")
    return _record(arguments, path, command.split("\0")[:-1], ["attach", str(pid)])


def _record(arguments: argparse.Namespace, path: Path, command: list[str], words: list[str]) -> int:
    host, recorded = _host(arguments.device)
    subject = f"process {arguments.pid}" if arguments.pid else command[0]
    with _writing(path), path.open("wb", buffering=0) as file:
        transcription = Transcription(RecordingWriter(file, _header(host, command), recorded))
        recorder = Recorder(subject, words, _image_sizes(host))
        status = recorder.record(transcription, path, HostFiles())
    notice(f"{path}: {transcription.summary}")
    return status


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}; choose another place with -o FILE") from error


def _host(device: str) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Return facts of this host, and what the recording keeps of them; None without KVM."""
    place = ThisHost(device)
    with place.open() as link:
        driver = Driver(link, place.timing)
        facts = driver.facts()
        try:
            recorded = examine(driver).recorded
        except Unavailable as reason:
            notice(f"the recording has no facts of this host: {reason}")
            return facts, None
    # It names the machine, and the judge does not need it.
    return facts, {name: fact for name, fact in recorded.items() if name != "environment"}


def _image_sizes(host: Mapping[str, Any]) -> ImageSizes:
    kvm = host["kvm"] or {}
    sizes = (kvm.get(name) or _PAGE for name in ("cap_xsave2", "cap_xsave2_permitted"))
    return ImageSizes(*sizes)


def _header(host: Mapping[str, Any], command: list[str]) -> Header:
    uname = os.uname()
    cpu = Processor.of(host["cpu"]["vendor"], host["cpu"]["signature"])
    return Header(
        schema=RECORDING,
        tool=f"kvmprobe {__version__}",
        architecture=uname.machine,
        kernel=uname.release,
        kernel_version=uname.version,
        cpu=Cpu(cpu.vendor, cpu.family, cpu.model, cpu.stepping),
        command=_clipped(command),
        began=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _clipped(command: list[str]) -> tuple[str, ...]:
    """Return the words that a line of a recording has room for."""
    words: list[str] = []
    room = _LONGEST_COMMAND
    for word in command:
        if len(word) > room:
            return (*words, "...")
        words.append(word.encode(errors="replace").decode())
        room -= len(word)
    return tuple(words)
