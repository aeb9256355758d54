"""Kernels of a matrix at the same time: a process for each, with its share of the machines."""

from __future__ import annotations

import json
import selectors
import signal
import subprocess
import sys
from collections import deque
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

import psutil

from kvmprobe.cli.kernel_runs import complete
from kvmprobe.cli.terminal import print_line
from kvmprobe.execution.local_link import ends_with_us

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# The machine that is forked, its forks, and the process that judges.
_KERNEL_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class KernelRun:
    """The run of one kernel.

    :ivar spec: the kernel
    :ivar words: the command line of `run`
    :ivar folder: directory of the run
    :ivar jobs: machines that run scenarios at the same time; None for a worker's own choice
    """

    spec: str
    words: tuple[str, ...]
    folder: str
    jobs: int | None


def at_once(kernels: int, jobs: int, available: int | None = None) -> int:
    """Return how many kernels run at the same time, so that each has a machine and memory.

    :param available: bytes of memory; None for those that this host has left
    """
    memory = psutil.virtual_memory().available if available is None else available
    return max(1, min(kernels, jobs, memory // _KERNEL_BYTES))


def reasons(runs: Sequence[KernelRun], most: int) -> Iterator[tuple[str, str]]:
    """Run what each kernel lacks; yield kernel and reason why it cannot run, empty if it can.

    If several run at the same time, each has a log beside the directory of its run, and a kernel
    whose process died has no reason.

    :param most: how many run at the same time
    :raises KvmprobeError: nothing can be kept; only if one runs at a time
    """
    if most > 1:
        yield from _apart(deque(runs), most)
        return
    for number, one in enumerate(runs):
        print_line(f"kvmprobe: kernel {number + 1} of {len(runs)}: {one.spec}")
        yield one.spec, complete(one.words, Path(one.folder), one.jobs)


def _apart(waiting: deque[KernelRun], most: int) -> Iterator[tuple[str, str]]:
    running: dict[int, tuple[KernelRun, subprocess.Popen[bytes]]] = {}
    try:
        with selectors.DefaultSelector() as selector:
            while waiting or running:
                while waiting and len(running) < most:
                    one = waiting.popleft()
                    process = _started(one)
                    running[_output(process).fileno()] = one, process
                    selector.register(_output(process), selectors.EVENT_READ)
                for key, _ in selector.select():
                    selector.unregister(key.fileobj)
                    one, process = running.pop(key.fd)
                    yield one.spec, _answer(one, process)
    finally:
        for _, process in running.values():
            process.terminate()
        for _, process in running.values():
            process.communicate()


def _started(one: KernelRun) -> subprocess.Popen[bytes]:
    log = _log(one)
    print_line(f"kvmprobe: {one.spec}: started; its progress is in {log}")
    with log.open("ab") as errors:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "kvmprobe.cli.side_by_side", json.dumps(asdict(one))],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            # ^C on the terminal reaches us alone, and we end it once.
            process_group=0,
            preexec_fn=ends_with_us(),  # noqa: PLW1509
        )


def _answer(one: KernelRun, process: subprocess.Popen[bytes]) -> str:
    with process:
        answer = _output(process).read()
    if not answer:
        print_line(f"kvmprobe: {one.spec}: its process died (status {process.returncode})")
        return ""
    reason: str = json.loads(answer)
    print_line(f"kvmprobe: {one.spec}: {reason or 'done'}")
    return reason


def _output(process: subprocess.Popen[bytes]) -> IO[bytes]:
    assert process.stdout is not None  # noqa: S101 - opened as a pipe above
    return process.stdout


def _log(one: KernelRun) -> Path:
    folder = Path(one.folder)
    return folder.with_name(f"{folder.name}.log")


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def main() -> None:
    """Run one kernel, whose :class:`KernelRun` is the argument; print the reason as JSON."""
    signal.signal(signal.SIGTERM, _interrupt)
    one = KernelRun(**json.loads(sys.argv[1]))
    reason = complete(one.words, Path(one.folder), one.jobs)
    sys.stdout.write(json.dumps(reason))


if __name__ == "__main__":
    main()
