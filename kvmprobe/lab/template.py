"""The booted machine from which all machines of a run are forked.

Its worker has sent its greeting and waits for its first request, or its first process waits for a
command, so nothing has run on a fork.  A booted template is saved, and a later run starts with it.
"""

from __future__ import annotations

import contextlib
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Protocol

from kvmprobe.errors import BootFailed, EmulatorKilled, LabError, NoSpace, UsageError
from kvmprobe.lab.emulator_process import Boot, Restore, Save
from kvmprobe.lab.machine import WORKER_SILENCE_SECONDS, Machine
from kvmprobe.lab.machine_events import (
    BootPhase,
    ChannelLine,
    ConsolePanic,
    Ended,
    EndReason,
    KvmMissing,
    Phase,
)
from kvmprobe.lab.ports import ForkFailed, TemplateLost
from kvmprobe.lab.saved import Booted

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from kvmprobe.lab.boot_image import BootImage
    from kvmprobe.lab.emulator import Emulator
    from kvmprobe.lab.machine_events import Event
    from kvmprobe.lab.saved import SavedTemplate

_BOOTS = 3


class Bootable(Protocol):
    """Makes a boot image, again if it is wanted after it was dropped."""

    def get(self) -> BootImage:
        """Return it."""

    def drop(self) -> None:
        """Free its memory."""


class Template:
    """Starts a machine when the first fork is wanted, and again if it was lost.

    :ivar phases: the phases of all boots so far
    :ivar greeting: the line that the worker wrote before it waited for input; empty without worker
    :ivar saved: where the machine is kept for later runs; None if it is not
    :ivar notes: why the machine could not be saved
    """

    def __init__(
        self,
        emulator: Emulator,
        image: Bootable,
        saved: SavedTemplate | None = None,
        when_ready: Callable[[Machine], None] | None = None,
    ) -> None:
        """Prepare it.

        :param saved: where the booted machine is kept for later runs; None to boot in any case
        :param when_ready: called for each machine that is a template and waits for input
        """
        self._emulator = emulator
        self._image = image
        self.saved = saved
        self._when_ready = when_ready
        self._saving = contextlib.ExitStack()
        self._machine: Machine | None = None
        self._ready = self._closed = False
        self._lock = threading.Lock()
        # The kernel kills an emulator when the thread that started it ends: this one stays.
        self._keeper = ThreadPoolExecutor(1, "kvmprobe-template")
        self.phases: list[Phase] = []
        self.greeting = ""
        self.notes: list[str] = []

    def prepared_by(self, when_ready: Callable[[Machine], None]) -> Template:
        """Return a template that has not booted yet, and is prepared by this when it has."""
        return Template(self._emulator, self._image, self.saved, when_ready)

    def fork(self) -> Machine:
        """Return a fork of the template; any thread may call it.

        :raises BootFailed: the kernel did not boot, or has no KVM
        :raises LabError: the emulator cannot fork, or ends as soon as it has booted
        """
        with self._lock:
            try:
                return self._fork_ready() or self._fork_started()
            except ForkFailed as error:
                raise LabError(
                    f"the emulator could not fork ({error.strerror}): lower --jobs, or allow "
                    "more memory or processes"
                ) from error

    def _fork_ready(self) -> Machine | None:
        """Return a fork of the machine that is ready; None if there is none, or it was lost."""
        if self._ready and self._machine is not None:
            try:
                return self._machine.fork()
            except TemplateLost:
                self._drop()
        return None

    def _fork_started(self) -> Machine:
        lost: TemplateLost | EmulatorKilled | None = None
        for _ in range(_BOOTS):
            try:
                self._keeper.submit(self._start).result()
                assert self._machine is not None  # noqa: S101 - _begin() has set it
                return self._machine.fork()
            except (TemplateLost, EmulatorKilled) as error:
                lost = error
                self._drop()
        raise LabError(f"the emulated host was lost {_BOOTS} times as it started: {lost}")

    def close(self) -> None:
        """Finish saving; kill the template, and with it all machines that were forked from it."""
        self._closed = True
        if not self._ready and (machine := self._machine) is not None:
            machine.kill()
        self._keeper.shutdown()
        self._drop()

    def _drop(self) -> None:
        self._ready = False
        machine, self._machine = self._machine, None
        if machine is not None:
            machine.__exit__()

    def _start(self) -> None:
        self._begin()
        if self._when_ready is not None:
            assert self._machine is not None  # noqa: S101 - _begin() has set it
            self._when_ready(self._machine)
        self._image.drop()
        self._ready = True

    def _begin(self) -> None:
        """Go on with the saved machine if there is one; else boot."""
        if self.saved is not None and (booted := self.saved.booted()) is not None:
            restore = Restore(self.saved.folder, booted.modules)
            self._machine = Machine.restore(self._emulator, restore)
            try:
                # It answers once it waits for input.
                self._machine.fork().__exit__()
            except TemplateLost as lost:
                if lost.silent is EndReason.STALLED or self._ended_from_outside(lost):
                    raise
                self._drop()
                self.saved.discard()
            else:
                self.greeting = booted.greeting
                return
        self._boot()

    def _ended_from_outside(self, lost: TemplateLost) -> bool:
        return lost.silent is None and self._machine is not None and self._machine.was_killed()

    def _save(self) -> tuple[Save, int] | None:
        """Return where the emulator may save, and the descriptor that says when it has."""
        if self.saved is None:
            return None
        try:
            self.saved.require_space()
            folder = self._saving.enter_context(self.saved.cache.scratch()) / "state"
            folder.mkdir()
        except (NoSpace, UsageError, OSError) as error:
            self._not_saved(error)
            return None
        heard, told = os.pipe2(os.O_CLOEXEC)
        return Save(folder, told), heard

    def _publish(self, machine: Machine, folder: Path, heard: int) -> None:
        """Wait until the emulator has saved; keep what it has."""
        assert self.saved is not None  # noqa: S101 - it chose the folder
        with self._saving, open(heard, "rb") as pipe:
            answer = pipe.read().decode("ascii", errors="replace")
            if answer.isdecimal():
                self._not_saved(OSError(int(answer), os.strerror(int(answer))))
            elif answer:
                try:
                    self.saved.publish(folder, Booted(self.greeting, machine.modules))
                except (NoSpace, OSError) as error:
                    self._not_saved(error)

    def _not_saved(self, error: Exception) -> None:
        self.saved = None
        self.notes.append(f"the booted machine was not saved, so the next run boots again: {error}")

    def _boot(self) -> None:
        saving = self._save()
        save = saving[0] if saving else None
        try:
            machine = Machine.boot(self._emulator, Boot(self._image.get(), save=save))
        finally:
            if save is not None:
                os.close(save.told)
        self._machine = machine
        if self._closed:
            machine.kill()
        if saving is not None:
            self._keeper.submit(self._publish, machine, saving[0].folder, saving[1])
        for event in machine.events(WORKER_SILENCE_SECONDS):
            if self._is_ready(machine, event):
                return
        raise _failed(machine, "ended before its worker started")

    def _is_ready(self, machine: Machine, event: Event) -> bool:
        """Return True if the machine waits for input after this event."""
        match event:
            case ChannelLine(text):
                self.greeting = text
                return True
            case Phase(phase):
                self.phases.append(event)
                return phase is BootPhase.WAIT
            case KvmMissing(text):
                raise _failed(machine, f"has no KVM: {text}")
            case ConsolePanic(report):
                raise _failed(machine, f"panicked when its worker started: {report.headline}")
            case Ended(reason, text):
                raise _failed(machine, f"ended: {reason.value} {text}".rstrip())
            case _:
                return False


def _failed(machine: Machine, what: str) -> BootFailed:
    return BootFailed(f"the emulated host {what}", machine.console_tail())
