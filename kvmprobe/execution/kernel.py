"""Runs scenarios in the zygote (``kvmprobe/native``), which forks a child for each."""

from __future__ import annotations

import os
import select
from typing import TYPE_CHECKING, Any, NamedTuple

from kvmprobe.abi.limits import MOST_ADDRESSES
from kvmprobe.errors import WorkerError
from kvmprobe.execution.prepared import Prepared
from kvmprobe.execution.transport import CHANNEL_PORT
from kvmprobe.host.hung_tasks import Overrun, alive, describe, kill, threads_of_tree
from kvmprobe.native._ffi import ffi, lib

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kvmprobe.host.hung_tasks import Tasks
    from kvmprobe.scenarios.calls import Call

EXIT_DONE: int = lib.KVMPROBE_DONE
EXIT_GATED: int = lib.KVMPROBE_GATED
EXIT_BROKEN: int = lib.KVMPROBE_BROKEN
# Seconds to wait after SIGKILL: freeing a guest takes time, and the emulated host is slow.
KILL_SECONDS = 10.0
_GONE = "the process that forks scenarios has died"
_OVERRUN = {
    lib.KVMPROBE_OVERRUN_SCENARIO: Overrun.SCENARIO,
    lib.KVMPROBE_OVERRUN_STEP: Overrun.STEP,
}


class Ended(NamedTuple):
    """How a process ended.

    :ivar status: as ``waitpid`` returns it; 0 if the process still has not ended
    :ivar hang: its tasks at the deadline; None if it ended in time
    """

    status: int
    hang: Overdue | None = None


class Overdue(NamedTuple):
    """Tasks of a process that did not end in time, and those that survived SIGKILL."""

    overrun: Overrun
    tasks: list[dict[str, Any]]
    unkillable: list[dict[str, Any]]


def watch(pid: int, seconds: float) -> Ended:
    """Wait for a child; kill it if it has not ended after ``seconds``."""
    process = os.pidfd_open(pid)
    try:
        hang = None
        if not _readable(process, seconds):
            hang = _end(
                Overrun.SCENARIO, threads_of_tree(pid), lambda: _readable(process, KILL_SECONDS)
            )
        if hang and hang.unkillable:
            return Ended(0, hang)
        return Ended(os.waitpid(pid, 0)[1], hang)
    finally:
        os.close(process)


def _end(overrun: Overrun, tasks: Tasks, ends: Callable[[], bool]) -> Overdue:
    """Describe tasks and kill them; describe again those that survive."""
    described = describe(tasks)
    kill(tasks)
    return Overdue(overrun, described, [] if ends() else describe(alive(tasks) or tasks))


def _readable(fd: int, seconds: float) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


class Limits(NamedTuple):
    """Seconds after which a scenario, or one of its steps, is killed."""

    scenario: float
    step: float


class Channels(NamedTuple):
    """What scenarios share with the worker: the device, the kernel log and the output."""

    device: str
    log_fd: int
    out_fd: int


class Zygote:
    """A fork of this process that forks a child for each scenario and does nothing else."""

    def __init__(self, channels: Channels) -> None:
        request_end, self._requests = os.pipe()
        self._answers, answer_end = os.pipe()
        device = ffi.new("char[]", os.fsencode(channels.device))
        given = {
            "device": device,
            "log_fd": channels.log_fd,
            "out_fd": channels.out_fd,
            "out_port": CHANNEL_PORT,
            "requests": request_end,
            "answers": answer_end,
            "others": (self._requests, self._answers),
        }
        self._pid = int(lib.kvmprobe_zygote(ffi.new("struct kvmprobe_channels *", given)))
        os.close(request_end)
        os.close(answer_end)
        if self._pid < 0:
            raise WorkerError(f"fork() of the zygote failed: {os.strerror(-self._pid)}")

    def run(self, request: dict[str, int], addresses: Sequence[int]) -> Ended:
        """Run a scenario that consists of the calls at these addresses.

        :param request: members of ``struct kvmprobe_request``
        :raises WorkerError: the zygote has died, or the scenario has too many calls
        """
        if len(addresses) > MOST_ADDRESSES:
            raise WorkerError(
                f"the scenario has {len(addresses)} calls; the limit is {MOST_ADDRESSES}"
            )
        head = ffi.new("struct kvmprobe_request *", {**request, "addresses": len(addresses)})
        self._send(bytes(ffi.buffer(head)) + bytes(ffi.buffer(ffi.new("size_t[]", addresses))))
        # No answer: the scenario's process ended, but a task that was killed with it did not.
        overrun, pid, status = lib.KVMPROBE_OVERRUN_SCENARIO, self._pid, 0
        if _readable(self._answers, request["deadline_ms"] / 1000 + KILL_SECONDS):
            overrun, pid, status = self._answer()
        if overrun == lib.KVMPROBE_IN_TIME:
            return Ended(status)
        tasks = [task for task in threads_of_tree(pid) if task[0] != self._pid]
        hang = _end(_OVERRUN[overrun], tasks, lambda: _readable(self._answers, KILL_SECONDS))
        return Ended(0 if hang.unkillable else self._answer()[2], hang)

    def _send(self, message: bytes) -> None:
        try:
            while message:
                message = message[os.write(self._requests, message) :]
        except BrokenPipeError as error:
            raise WorkerError(_GONE) from error

    def _answer(self) -> tuple[int, int, int]:
        ended = ffi.new("struct kvmprobe_ended *")
        answer = os.read(self._answers, ffi.sizeof(ended[0]))
        if len(answer) < ffi.sizeof(ended[0]):
            raise WorkerError(_GONE)
        ffi.memmove(ended, answer, len(answer))
        return ended.overrun, ended.pid, ended.status

    def close(self) -> None:
        """End the zygote."""
        os.close(self._requests)
        os.close(self._answers)
        os.waitpid(self._pid, 0)


class Session:
    """The calls defined so far, and the zygote that knows them."""

    def __init__(self, device: str, log_fd: int, out_fd: int) -> None:
        self._channels = Channels(device, log_fd, out_fd)
        self._calls: dict[int, Prepared] = {}
        self._zygote: Zygote | None = None

    def define(self, number: int, lowered: Call) -> None:
        """Prepare a call, which scenarios then refer to by its number."""
        self._retire()
        self._calls[number] = Prepared(lowered)

    def remember(self, call_number: int, number: int, output: bytes) -> None:
        """Report an output of this call by number from now on."""
        self._retire()
        self._calls[call_number].remember(number, output)

    def run(self, number: int, steps: Sequence[Sequence[int]], gate: int, limits: Limits) -> Ended:
        """Run a scenario in a new process.

        :param gate: 1 to stop before a guest-FPU load that is fatal by the last read-back, else 0
        :raises WorkerError: the zygote has died, or the scenario has too many calls
        """
        if self._zygote is None:
            self._zygote = Zygote(self._channels)
        addresses = [a for step in steps for a in (*(self._calls[n].address for n in step), 0)]
        deadline, step = (round(seconds * 1000) for seconds in limits)
        request = {
            "number": number,
            "gate": gate,
            "deadline_ms": deadline,
            "step_ms": max(step, 1),
            "steps": len(steps),
        }
        return self._zygote.run(request, addresses)

    def _retire(self) -> None:
        """End the zygote, which does not know later definitions."""
        if self._zygote is not None:
            self._zygote.close()
            self._zygote = None
