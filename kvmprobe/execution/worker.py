"""The process on the kernel under test: runs each scenario in a forked child.

It never requests a permission, opens /dev/kvm or uses AMX, so that a forked child starts like a
newly executed process.  It does not judge: the child writes the results of each step as one line
before the next step begins.  The same program runs on this host and in the emulator.

Lines in:  ``{"define": NR, "call": [...]}``, ``{"remember": NR, "of": CALL, "output": TEXT}``,
``{"run": NR, ...}``, ``{"facts": 1}``.
Lines out: ``{"ready": ...}``, ``{"n": NR, "s": STEP, "r": [[RESULT, OUTPUT], ...], "k": [...]}``,
``{"end": NR, ...}``.  An OUTPUT is ``"*BASE64"``, the number of a remembered output, or 0 for the
same output as this call's previous one in this scenario.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
import time
from base64 import b64decode
from typing import TYPE_CHECKING, Any

from kvmprobe.execution.kernel import EXIT_BROKEN, EXIT_DONE, EXIT_GATED, Limits, Session, watch
from kvmprobe.execution.transport import PipeTransport, PortTransport
from kvmprobe.host.kernel_log import KernelLog
from kvmprobe.scenarios.calls import from_wire

if TYPE_CHECKING:
    from kvmprobe.execution.kernel import Ended
    from kvmprobe.execution.transport import Transport

DEVICE_VARIABLE = "KVMPROBE_DEVICE"
TRANSPORT_VARIABLE, PORT, PIPE = "KVMPROBE_TRANSPORT", "port", "pipe"
_NO_NUMBER = -1
_to_json = json.JSONEncoder(separators=(",", ":")).encode
_ENDS = {EXIT_DONE: "done", EXIT_GATED: "held", EXIT_BROKEN: "broken"}


class Worker:
    """The loop over requests."""

    def __init__(self, transport: Transport, device: str) -> None:
        self._transport = transport
        self._device = device
        self._log = KernelLog.open()
        self._session = Session(device, self._log.fd, transport.write_fd)

    def serve(self) -> None:
        """Answer requests until the input ends, or a scenario cannot be killed."""
        self._send(
            {"ready": {"pid": os.getpid(), "kmsg": self._log.state, "taint": self._log.taint()}}
        )
        gc.collect()
        gc.freeze()
        self._transport.settled()
        while line := self._transport.read_line():
            request = json.loads(line)
            if "run" in request:
                if not self._run(request):
                    return
            elif "define" in request:
                self._session.define(request["define"], from_wire(request["call"]))
            elif "remember" in request:
                output = b64decode(request["output"])
                self._session.remember(request["of"], request["remember"], output)
            else:
                self._find_facts(request)

    def _send(self, message: dict[str, Any]) -> None:
        self._transport.write(_to_json(message).encode() + b"\n")

    def _run(self, request: dict[str, Any]) -> bool:
        """Run a scenario; return True if another can run after it."""
        started = time.monotonic()
        number, limits = request["run"], Limits(request["deadline"], request["step_deadline"])
        self._transport.scenario_begins()
        ended = self._session.run(number, request["steps"], request["gate"], limits)
        self._transport.scenario_ends()
        self._send_end(number, ended, started, limits)
        return ended.hang is None or not ended.hang.unkillable

    def _find_facts(self, request: dict[str, Any]) -> None:
        started = time.monotonic()
        pid = os.fork()
        if pid == 0:
            os._exit(self._facts())
        limits = Limits(request["deadline"], request["deadline"])
        self._send_end(_NO_NUMBER, watch(pid, limits.scenario), started, limits)

    def _facts(self) -> int:
        try:
            # Imported here: scenarios do not need it, and a smaller process forks faster.
            from kvmprobe.execution.facts import gather  # noqa: PLC0415

            self._send({"facts": gather(self._device)})
        except BaseException:  # the child must end here, and report why
            import traceback  # noqa: PLC0415

            self._send({"broken": _NO_NUMBER, "traceback": traceback.format_exc()})
            return EXIT_BROKEN
        return EXIT_DONE

    def _send_end(self, number: int, ended: Ended, started: float, limits: Limits) -> None:
        seconds = round(time.monotonic() - started, 6)
        # Messages that the kernel logs while it destroys a VM belong to that VM's scenario.
        since = {"taint": self._log.taint(), "k": self._log.read()}
        self._send({"end": number, **_status(ended, limits), "seconds": seconds, **since})


def _status(ended: Ended, limits: Limits) -> dict[str, Any]:
    if ended.hang is not None:
        overrun, tasks, unkillable = ended.hang
        hang = {"overrun": overrun.value, "tasks": tasks, "unkillable": unkillable}
        return {"status": "timeout", "deadline": getattr(limits, overrun.value), "hang": hang}
    if os.WIFSIGNALED(ended.status):
        return {"status": "signal", "signal": os.WTERMSIG(ended.status)}
    code = os.waitstatus_to_exitcode(ended.status)
    return {"status": _ENDS.get(code, "broken"), "code": code}


def main() -> None:
    """Serve on the transport that TRANSPORT_VARIABLE names: the I/O port, or standard streams."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Kill the child as well: it may be in a guest that never exits.
    signal.signal(signal.SIGTERM, lambda *_: os.killpg(0, signal.SIGKILL))
    transport: Transport
    if os.environ.get(TRANSPORT_VARIABLE) == PORT:
        transport = PortTransport()
    else:
        transport = PipeTransport(sys.stdin.fileno(), sys.stdout.fileno())
    Worker(transport, os.environ.get(DEVICE_VARIABLE, "/dev/kvm")).serve()


if __name__ == "__main__":
    main()
