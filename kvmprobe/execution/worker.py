"""The process on the kernel under test that a driver talks to.

It never requests a permission, opens /dev/kvm or uses AMX, and neither does the zygote that it
starts, so that a scenario starts like a newly executed process.  The zygote (``kvmprobe/native``)
serves the driver; what needs more than system calls it passes on to this process, which gathers
facts about the host, and describes and kills the tasks of a scenario that has missed a deadline.
The same program runs on this host and in the emulator.

Lines in: ``facts MILLISECONDS``, and those in ``kvmprobe/native/zygote.c``.
Lines out: ``{"ready": ...}``, ``{"n": NR, "s": STEP, "r": ..., "k": [...]}`` for each step before
the next step begins (``kvmprobe/native/scenario.c``), ``{"end": NR, ...}``.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import time
from typing import TYPE_CHECKING, Any

from kvmprobe.abi.executor import ExitCode
from kvmprobe.errors import WorkerError

# Not only when they are wanted: a saved machine has these imports done, and forks none of them.
from kvmprobe.execution.facts import gather
from kvmprobe.execution.transport import PipeTransport, PortTransport
from kvmprobe.execution.zygote import Zygote
from kvmprobe.host.hung_tasks import alive, describe, kill, threads_of_tree
from kvmprobe.host.kernel_log import KernelLog

if TYPE_CHECKING:
    from collections.abc import Callable

    from kvmprobe.host.hung_tasks import Tasks

DEVICE_VARIABLE = "KVMPROBE_DEVICE"
TRANSPORT_VARIABLE, PORT, PIPE = "KVMPROBE_TRANSPORT", "port", "pipe"
# Seconds to wait after SIGKILL: freeing a guest takes time, and the emulated host is slow.
KILL_SECONDS = 10.0
_NO_NUMBER = -1
_to_json = json.JSONEncoder(separators=(",", ":")).encode


class Worker:
    """Answers what the zygote passes on."""

    def __init__(self, transport: PipeTransport | PortTransport, device: str) -> None:
        self._transport = transport
        self._device = device
        self._log = KernelLog.open()

    def serve(self) -> None:
        """Answer until the driver's input ends, or a scenario cannot be killed."""
        self._send(
            {"ready": {"pid": os.getpid(), "kmsg": self._log.state, "taint": self._log.taint()}}
        )
        zygote = Zygote(self._device, self._transport.port, self._log)
        while request := zygote.next_request():
            match request:
                case ["facts", milliseconds]:
                    self._find_facts(int(milliseconds) / 1000)
                case ["overrun", kind, pid, number, milliseconds]:
                    deadline = int(milliseconds) / 1000
                    if not self._end_overdue(zygote, kind, int(pid), int(number), deadline):
                        return
                case _:
                    raise WorkerError(f"the worker does not know this request: {request!r:.200}")
            zygote.proceed()

    def _send(self, message: dict[str, Any]) -> None:
        self._transport.write(_to_json(message).encode() + b"\n")

    def _find_facts(self, deadline: float) -> None:
        started = time.monotonic()
        pid = os.fork()
        if pid == 0:
            os._exit(self._facts())
        process = os.pidfd_open(pid)
        poll = select.poll()
        poll.register(process, select.POLLIN)

        def ends_within(seconds: float) -> bool:
            return bool(poll.poll(seconds * 1000))

        end: dict[str, Any] = {"status": "timeout", "deadline": deadline}
        if ends_within(deadline):
            end = _status(os.waitpid(pid, 0)[1])
        else:
            hang = _end_tasks(threads_of_tree(pid), lambda: ends_within(KILL_SECONDS))
            end["hang"] = {"overrun": "scenario", **hang}
        os.close(process)
        self._send_end(_NO_NUMBER, end, started)

    def _facts(self) -> int:
        try:
            self._send({"facts": gather(self._device)})
        except BaseException:  # the child must end here, and report why
            import traceback  # noqa: PLC0415

            self._send({"broken": _NO_NUMBER, "traceback": traceback.format_exc()})
            return ExitCode.BROKEN
        return ExitCode.DONE

    def _end_overdue(
        self, zygote: Zygote, kind: str, pid: int, number: int, deadline: float
    ) -> bool:
        """Describe and kill a scenario's tasks; return True if another scenario can run."""
        started = time.monotonic() - deadline
        tasks = [task for task in threads_of_tree(pid) if task[0] != zygote.pid]
        hang = _end_tasks(tasks, lambda: zygote.writes_within(KILL_SECONDS))
        end = {"status": "timeout", "deadline": deadline, "hang": {"overrun": kind, **hang}}
        self._send_end(number, end, started)
        if hang["unkillable"]:
            return False
        return zygote.next_request() == ["ended"]

    def _send_end(self, number: int, end: dict[str, Any], started: float) -> None:
        microseconds = round((time.monotonic() - started) * 1e6)
        since = {"taint": self._log.taint(), "k": self._log.read()}
        self._send({"end": number, **end, "microseconds": microseconds, **since})


def _end_tasks(tasks: Tasks, ends: Callable[[], bool]) -> dict[str, Any]:
    """Describe tasks and kill them; describe again those that survive."""
    described = describe(tasks)
    kill(tasks)
    return {"tasks": described, "unkillable": [] if ends() else describe(alive(tasks) or tasks)}


def _status(status: int) -> dict[str, Any]:
    if os.WIFSIGNALED(status):
        return {"status": "signal", "signal": os.WTERMSIG(status)}
    code = os.waitstatus_to_exitcode(status)
    return {"status": "done" if code == ExitCode.DONE else "broken", "code": code}


def main() -> None:
    """Serve on the transport that TRANSPORT_VARIABLE names: the I/O port, or standard streams."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Kill the child as well: it may be in a guest that never exits.
    signal.signal(signal.SIGTERM, lambda *_: os.killpg(0, signal.SIGKILL))
    transport: PipeTransport | PortTransport
    if os.environ.get(TRANSPORT_VARIABLE) == PORT:
        transport = PortTransport()
    else:
        transport = PipeTransport(sys.stdout.fileno())
    Worker(transport, os.environ.get(DEVICE_VARIABLE, "/dev/kvm")).serve()


if __name__ == "__main__":
    main()
