"""The process next to the kernel under test: runs each scenario in a child forked from itself.

It stays pristine: it never asks for permission, opens /dev/kvm or touches AMX, so a forked child
begins as an exec'ed process would.  It judges nothing; it says what it saw, one line a step, written
before the next step begins.  The same program runs on this host and on the emulated one.

Lines in:  ``{"define": NR, "call": [...]}``, ``{"remember": NR, "output": TEXT}``, ``{"run": NR, ...}``,
``{"facts": 1}``.
Lines out: ``{"ready": ...}``, ``{"n": NR, "s": STEP, "r": [[RESULT, OUTPUT], ...]}``, ``{"end": NR, ...}``.
An OUTPUT is text, or a number: of an output to remember, or 0: as this call's last one in this scenario.
"""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import sys
import time
from typing import TYPE_CHECKING, Any

from kvmprobe.execution.kernel import Session, loads_guest_fpu, prepare
from kvmprobe.execution.kernel_log import KernelLog
from kvmprobe.execution.transport import PipeTransport, PortTransport
from kvmprobe.scenarios.calls import from_wire, pack, unpack

if TYPE_CHECKING:
    from collections.abc import Callable

    from kvmprobe.execution.kernel import Reply
    from kvmprobe.execution.transport import Transport

DEVICE_VARIABLE = "KVMPROBE_DEVICE"
EXIT_DONE, EXIT_HELD, EXIT_BROKEN = 0, 3, 4
_ENDS = {EXIT_DONE: "done", EXIT_HELD: "held", EXIT_BROKEN: "broken"}


class Worker:
    """Calls defined so far, and the loop over requests."""

    def __init__(self, transport: Transport, device: str) -> None:
        self._transport = transport
        self._device = device
        self._calls: dict[int, tuple[Callable[[Session], Reply], bool]] = {}
        self._remembered: dict[bytes, int] = {}
        self._log = KernelLog.open()

    def serve(self) -> None:
        """Answer requests until the input ends."""
        self._send(
            {"ready": {"pid": os.getpid(), "kmsg": self._log.state, "taint": self._log.taint()}}
        )
        gc.collect()
        gc.freeze()
        while line := self._transport.read_line():
            request = json.loads(line)
            if "run" in request:
                self._supervise(request, self._scenario)
            elif "define" in request:
                call = from_wire(request["call"])
                self._calls[request["define"]] = (prepare(call), loads_guest_fpu(call))
            elif "remember" in request:
                self._remembered[unpack(request["output"])] = request["remember"]
            else:
                self._supervise(request, _facts)

    def _send(self, message: dict[str, Any]) -> None:
        self._transport.write(json.dumps(message, separators=(",", ":")).encode() + b"\n")

    def _supervise(
        self,
        request: dict[str, Any],
        act: Callable[[dict[str, Any], Callable[[dict[str, Any]], None]], int],
    ) -> None:
        started = time.monotonic()
        pid = os.fork()
        if pid == 0:
            os._exit(self._child(request, act))
        end = self._reap(pid, request["deadline"])
        seconds = round(time.monotonic() - started, 6)
        # What the kernel says while a VM is taken down belongs to its scenario, not to the next one.
        self._send(
            {
                "end": request.get("run", -1),
                **end,
                "seconds": seconds,
                "taint": self._log.taint(),
                "k": self._log.read(),
            }
        )

    def _child(
        self,
        request: dict[str, Any],
        act: Callable[[dict[str, Any], Callable[[dict[str, Any]], None]], int],
    ) -> int:
        try:
            return act(request, self._send)
        except BaseException:
            # Imported here, as other things are that no good child needs: a smaller process forks faster.
            import traceback  # noqa: PLC0415

            self._send({"broken": request.get("run", -1), "traceback": traceback.format_exc()})
            return EXIT_BROKEN

    def _reap(self, pid: int, deadline: float) -> dict[str, Any]:
        pidfd = os.pidfd_open(pid)
        try:
            timed_out = not select.select([pidfd], [], [], deadline)[0]
            if timed_out:
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            _, status = os.waitpid(pid, 0)
        finally:
            os.close(pidfd)
        if timed_out:
            return {"status": "timeout", "deadline": deadline}
        if os.WIFSIGNALED(status):
            return {"status": "signal", "signal": os.WTERMSIG(status)}
        code = os.waitstatus_to_exitcode(status)
        return {"status": _ENDS.get(code, "broken"), "code": code}

    def _scenario(self, request: dict[str, Any], _send: Callable[[dict[str, Any]], None]) -> int:
        session = Session(self._device)
        number, hold = request["run"], request["hold"]
        last: dict[int, bytes] = {}
        write, calls, log = self._transport.write, self._calls, self._log
        for step, call_numbers in enumerate(request["steps"]):
            replies = []
            for call_number in call_numbers:
                issue, loads = calls[call_number]
                if hold and loads and session.next_load_faults:
                    return EXIT_HELD
                result, output = issue(session)
                if output is None:
                    replies.append(f"[{result}]")
                elif last.get(call_number) == output:
                    replies.append(f"[{result},0]")
                else:
                    last[call_number] = output
                    replies.append(f"[{result},{self._encode(output)}]")
            kernel_log = log.read()
            said = f',"k":{json.dumps(kernel_log)}' if kernel_log else ""
            write(f'{{"n":{number},"s":{step},"r":[{",".join(replies)}]{said}}}\n'.encode())
        return EXIT_DONE

    def _encode(self, output: bytes) -> str:
        number = self._remembered.get(output)
        return f'"{pack(output)}"' if number is None else str(number)


def _facts(request: dict[str, Any], send: Callable[[dict[str, Any]], None]) -> int:  # noqa: ARG001
    # Imported here: scenarios' children need not carry it.
    from kvmprobe.execution.facts import gather  # noqa: PLC0415

    send({"facts": gather(os.environ.get(DEVICE_VARIABLE, "/dev/kvm"))})
    return EXIT_DONE


def main() -> None:
    """Serve on the channel that ``KVMPROBE_TRANSPORT`` names: ``port``, or standard streams."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    transport: Transport
    if os.environ.get("KVMPROBE_TRANSPORT") == "port":
        transport = PortTransport()
    else:
        transport = PipeTransport(sys.stdin.fileno(), sys.stdout.fileno())
    Worker(transport, os.environ.get(DEVICE_VARIABLE, "/dev/kvm")).serve()


if __name__ == "__main__":
    main()
