"""Measure ``trace`` and ``judge``: KVM_RUNs and QEMU with and without ``trace``, CPU of ``judge``.

Ratios are of pairs that follow each other at once, so that other load meets both alike.  A call
that stops waits for the recorder twice: on a busy machine measure with ``chrt -f 1``.
"""

from __future__ import annotations

import itertools
import lzma
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from kvmprobe.recordings.lines import (
    Call,
    EndReason,
    ObjectKind,
    ObjectLine,
    Order,
    Permission,
    ProcessLine,
    Run,
)
from kvmprobe.recordings.reader import RecordingReader
from kvmprobe.recordings.writer import RecordingWriter
from tests.support.qemu_monitor import Monitor, monitored

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kvmprobe.recordings.entries import Entry

TESTS = Path(__file__).parent.parent / "tests"
COMMAND = (sys.executable, "-m", "kvmprobe.cli.main")
_PROGRAM = Path(__file__).with_name("bench_vmm.c")
_COMPILE = ("gcc", "-static", "-O1", "-pthread", f"-I{TESTS / 'support'}")
_CALLS = 10_000
_JUDGINGS = 5
_BURST_RUNS = 2000
_BURSTS = 400
_STARTS = 15
_QEMU = "qemu-system-x86_64"
# Some KVMs do not let QEMU set MSR_IA32_ARCH_CAPABILITIES as it wants.
_GUEST = ["-accel", "kvm", "-cpu", "host,arch-capabilities=off", "-m", "32"]
_GUEST += ["-display", "none", "-nodefaults", "-S", "-qmp", "stdio"]
_INCOMING = ["-incoming", "defer"]


def measure(seconds: int) -> None:
    """Print everything.

    :param seconds: duration of the run in which all calls are counted
    """
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        _judge(folder)
        program = folder / "bench_vmm"
        subprocess.run([*_COMPILE, "-o", program, _PROGRAM], check=True)
        _loop(program, folder)
        if shutil.which(_QEMU):
            _qemu(program, folder)
        _count(program, folder, seconds)


def _traced(folder: Path, *command: object) -> list[str]:
    path = folder / "trace.jsonl"
    return [*COMMAND, "trace", "-o", str(path), "--", *map(str, command)]


def _judge(folder: Path) -> None:
    packed = TESTS / "recordings" / "qemu-7.2-restore-7.3.4.jsonl.xz"
    source = folder / "source"
    source.write_bytes(lzma.decompress(packed.read_bytes()))
    for name, count, only_vcpus in (
        ("none", 0, False),
        (f"{_CALLS} as QEMU makes them", _CALLS, False),
        (f"{_CALLS} on vCPUs", _CALLS, True),
    ):
        path = folder / "repeated"
        _repeat(source, path, count, only_vcpus=only_vcpus)
        used = [_cpu_of([*COMMAND, "judge", str(path)]) for _ in range(_JUDGINGS)]
        print(
            f"judge, calls: {name}: {statistics.median(used):.2f} s of CPU "
            f"(min {min(used):.2f}); target 1"
        )


def _repeat(source: Path, path: Path, count: int, *, only_vcpus: bool) -> None:
    """Write the calls of a restore again and again, up to ``count`` of them."""
    with RecordingReader(source) as reader:
        entries = list(itertools.takewhile(lambda e: not isinstance(e.line, Run), reader))
    lines = [e for e in entries if isinstance(e.line, ProcessLine | ObjectLine)]
    calls = [e for e in entries if isinstance(e.line, Call | Permission)]
    first = [e for e in calls if only_vcpus and not _is_on_vcpu(e)]
    again = [e for e in calls if e not in first and not _creates(e)]
    if not only_vcpus:
        first = [e for e in calls if _creates(e)]
    begun = sorted((*lines, *first), key=lambda e: e.number)
    order = itertools.count()
    with path.open("wb") as file:
        writer = RecordingWriter(file, reader.header, reader.host)
        for entry in (*begun, *itertools.islice(itertools.cycle(again), count)):
            _write(writer, entry, order)
        writer.end(next(order), EndReason.ENDED, 0)


def _is_on_vcpu(entry: Entry) -> bool:
    return entry.target is not None and entry.target.kind is ObjectKind.VCPU


def _creates(entry: Entry) -> bool:
    return entry.spec is not None and entry.spec.name.startswith("KVM_CREATE_")


def _write(writer: RecordingWriter, entry: Entry, order: Iterator[int]) -> None:
    line = entry.line
    if isinstance(line, Call):
        payloads = (entry.sent, entry.got, entry.sent_value, entry.got_value)
        names = [writer.payload(content) if content else None for content in payloads]
        line = replace(
            line,
            order=Order(next(order), next(order)),
            sent=names[0],
            got=names[1],
            sent_value=names[2],
            got_value=names[3],
        )
    elif isinstance(line, Permission):
        line = replace(line, order=Order(next(order), next(order)))
    elif isinstance(line, ProcessLine):
        line = replace(line, order=next(order))
    writer.write(line)


def _cpu_of(command: list[str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _loop(program: Path, folder: Path) -> None:
    """Compare bursts of KVM_RUNs, one program traced and one not, on one processor."""
    plain_command = [str(program), "bursts", str(_BURST_RUNS)]
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(allowed)})
    with _talking(plain_command) as plain, _talking(_traced(folder, *plain_command)) as traced:
        pairs = []
        for number in range(_BURSTS):
            # Each is the first one as often as the other.
            first, second = (plain, traced) if number % 2 else (traced, plain)
            times = {id(one): _burst(one) for one in (first, second)}
            pairs.append((times[id(plain)], times[id(traced)]))
    os.sched_setaffinity(0, allowed)
    ratios = [with_trace / without for without, with_trace in pairs[1:]]
    quickest = [
        statistics.mean(sorted(times)[: _BURSTS // 10]) / _BURST_RUNS
        for times in zip(*pairs[1:], strict=True)
    ]
    print(
        f"KVM_RUN, CPU time traced to untraced: median of {len(ratios)} pairs "
        f"{statistics.median(ratios):.4f}; of the quickest tenth of each {quickest[1]:.0f} ns to "
        f"{quickest[0]:.0f} ns, {quickest[1] / quickest[0]:.4f}; target 1.01"
    )


def _talking(command: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        bufsize=1,
    )


def _burst(program: subprocess.Popen[str]) -> int:
    assert program.stdin is not None and program.stdout is not None  # noqa: S101, PT018 - pipes
    program.stdin.write("\n")
    return int(program.stdout.readline())


def _qemu(program: Path, folder: Path) -> None:
    """Compare QEMU's start and migration to a file, and its start from that file."""
    command = [str(program), "timed", _QEMU, *_GUEST]
    save, restore = (command, Monitor.save), ([*command, *_INCOMING], Monitor.restore)
    for what, (words, talk) in (("start and save", save), ("restore", restore)):
        ratios = []
        for _ in range(_STARTS):
            without = _ran(words, talk, folder)
            ratios.append(_ran(_traced(folder, *words), talk, folder) / without)
        print(
            f"QEMU, {what}, time traced to untraced: median of {_STARTS} pairs "
            f"{statistics.median(ratios):.2f}, min {min(ratios):.2f}; target 1.3"
        )


def _ran(command: list[str], talk: Callable[[Monitor], None], folder: Path) -> int:
    """Return how long a timed command ran; without the start of kvmprobe around it."""
    with monitored(command, folder) as monitor:
        talk(monitor)
    return int(monitor.rest.split()[-1])


def _count(program: Path, folder: Path, seconds: int) -> None:
    """Record eight vCPUs for a while, and compare their own counts with the recording."""
    started = time.monotonic()
    ended = subprocess.run(
        _traced(folder, program, "paced", seconds), capture_output=True, text=True, check=False
    )
    runs, calls, used = map(int, ended.stdout.splitlines()[-1].split())
    with RecordingReader(folder / "trace.jsonl") as reader:
        recorded = sum(isinstance(e.line, Call) and _is_on_vcpu(e) for e in reader)
    print(
        f"eight vCPUs for {time.monotonic() - started:.0f} s: exit status {ended.returncode}, "
        f"{runs} KVM_RUNs of {used / runs:.0f} ns of CPU, {calls} other calls, {recorded} "
        f"recorded; {(folder / 'trace.jsonl').stat().st_size / 1024:.0f} KiB"
    )
