"""The booted machine from which all machines of a run are forked.

Its worker has sent its greeting and waits for its first request, so a fork is a machine whose
worker has not run anything.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from kvmprobe.errors import BootFailed, LabError
from kvmprobe.lab.machine_events import ChannelLine, ConsolePanic, Ended, KvmMissing, Phase
from kvmprobe.lab.ports import ForkFailed, TemplateLost

if TYPE_CHECKING:
    from collections.abc import Callable

    from kvmprobe.lab.machine import Machine

_SILENCE_SECONDS = 90.0
_BOOTS = 3


class Template:
    """Boots a machine when the first fork is wanted, and again if it was lost.

    :ivar phases: the phases of all boots so far
    :ivar greeting: the line that the worker wrote before it waited for input
    """

    def __init__(
        self, start: Callable[[], Machine], when_ready: Callable[[Machine], None] | None = None
    ) -> None:
        """Prepare it.

        :param start: starts a machine that boots
        :param when_ready: called for each machine that has booted and waits for input
        """
        self._start = start
        self._when_ready = when_ready
        self._machine: Machine | None = None
        self._ready = self._closed = False
        self._lock = threading.Lock()
        # The kernel kills an emulator when the thread that started it ends: this one stays.
        self._keeper = ThreadPoolExecutor(1, "kvmprobe-template")
        self.phases: list[Phase] = []
        self.greeting = ""

    def prepared_by(self, when_ready: Callable[[Machine], None]) -> Template:
        """Return a template that has not booted yet, and is prepared by this when it has."""
        return Template(self._start, when_ready)

    def fork(self) -> Machine:
        """Return a fork of the template; any thread may call it.

        :raises BootFailed: the kernel did not boot, or has no KVM
        :raises LabError: the emulator cannot fork, or ends as soon as it has booted
        """
        with self._lock:
            lost: TemplateLost | None = None
            for _ in range(_BOOTS):
                machine = self._machine
                if machine is None or not self._ready:
                    machine = self._keeper.submit(self._boot).result()
                try:
                    return machine.fork()
                except TemplateLost as error:
                    self._drop()
                    lost = error
                except ForkFailed as error:
                    raise LabError(
                        f"the emulator could not fork ({error.strerror}): lower --jobs, or allow "
                        "more memory or processes"
                    ) from error
            raise LabError(f"the emulated host was lost {_BOOTS} times when it had booted: {lost}")

    def close(self) -> None:
        """Kill the template, and with it all machines that were forked from it."""
        self._closed = True
        if (machine := self._machine) is not None:
            machine.kill()
        self._keeper.shutdown()
        self._drop()

    def _drop(self) -> None:
        self._ready = False
        machine, self._machine = self._machine, None
        if machine is not None:
            machine.__exit__()

    def _boot(self) -> Machine:
        self._machine = machine = self._start()
        if self._closed:
            machine.kill()
        for event in machine.events(_SILENCE_SECONDS):
            match event:
                case ChannelLine(text):
                    self.greeting = text
                    self._ready = True
                    if self._when_ready is not None:
                        self._when_ready(machine)
                    return machine
                case Phase():
                    self.phases.append(event)
                case KvmMissing(text):
                    raise _failed(machine, f"has no KVM: {text}")
                case ConsolePanic(report):
                    raise _failed(machine, f"panicked when its worker started: {report.headline}")
                case Ended(reason, text):
                    raise _failed(machine, f"ended: {reason.value} {text}".rstrip())
                case _:
                    continue
        raise _failed(machine, "ended before its worker started")


def _failed(machine: Machine, what: str) -> BootFailed:
    return BootFailed(f"the emulated host {what}", machine.console_tail())
