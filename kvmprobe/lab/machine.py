"""A running emulated machine: events from it, lines to it, and its timeouts.

``emulator_process`` has its process, ``ports`` its pipes; ``machine_events`` and ``console_text``
parse the lines.
"""

from __future__ import annotations

import os
import re
import select
import selectors
import time
from collections import deque
from typing import TYPE_CHECKING, Self

from kvmprobe.errors import BootFailed, EmulatorKilled
from kvmprobe.lab.coverage_control import read_text, watch_blocks
from kvmprobe.lab.emulator_process import ForkedEmulator, StartedEmulator, memory_bytes
from kvmprobe.lab.machine_events import (
    BootPhase,
    ConsolePanic,
    Ended,
    EndReason,
    Event,
    ModuleLoaded,
    Phase,
    decode,
)
from kvmprobe.lab.patience import Patience
from kvmprobe.lab.ports import Ports, read_available, request_fork
from kvmprobe.results import console_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from kvmprobe.lab.emulator import Emulator
    from kvmprobe.lab.emulator_process import Boot, EmulatorProcess, Restore

BOOT_SECONDS = 180.0
# Without output on channel and console in so much CPU time of its emulator, a worker hangs.
WORKER_SILENCE_SECONDS = 90.0
# CPU time of an emulator, in which it forks.
_FORK_SECONDS = 30.0
_PANIC_GRACE_SECONDS = 3.0
_REPORT_SECONDS = 5.0
_LAST_LINES = 30
# Bytes of console text, and of a line of the channel: a kernel that prints without end hangs.
_MOST_BYTES = 64 << 20
# ABI: exit status of the patched emulator if the machine resets and KVMPROBE_NO_REBOOT is set.
_RESET_STATUS = 3
_ENDINGS: dict[int | None, EndReason] = {
    0: EndReason.FINISHED,
    _RESET_STATUS: EndReason.RESET,
}
_EMULATOR_BANNER = re.compile(r"^(?:={20,}|\d{11}i\[|\s+(?:Bochs x86|Built from|Timestamp))")


class Machine:
    """A running machine, which is killed on exit from the ``with`` block.

    :ivar modules: addresses of the kernel's modules, by name, once its program starts
    """

    def __init__(
        self, ports: Ports, process: EmulatorProcess, boot_seconds: float | None = None
    ) -> None:
        """Watch a machine.

        :param boot_seconds: CPU time until its program must have started, seconds; None if it has
        """
        self._ports = ports
        self._process = process
        self._boot_seconds = boot_seconds or 0.0
        self._boot_patience = Patience(process, self._boot_seconds)
        self._program_started = boot_seconds is None
        self._started = time.monotonic()
        self._selector = selectors.DefaultSelector()
        self._incoming, self._outgoing = bytearray(), bytearray()
        self._console, self._log = bytearray(), bytearray()
        self._pending: deque[Event] = deque()
        self._over = self._watched = False
        self.modules: Mapping[str, int] = {}
        self._sources = {
            ports.channel_out: self._incoming,
            ports.console: self._console,
            ports.log: self._log,
        }
        for descriptor in self._sources:
            self._selector.register(descriptor, selectors.EVENT_READ)

    @classmethod
    def boot(cls, emulator: Emulator, boot: Boot, boot_seconds: float = BOOT_SECONDS) -> Self:
        """Start an emulator that boots a kernel.

        The kernel kills the emulator, and what was forked from it, when the calling thread ends.

        :param boot_seconds: CPU time until its program must have started, seconds
        :raises MissingTools: setpriv is not installed
        """
        return cls._begin(emulator, boot, boot_seconds)

    @classmethod
    def restore(cls, emulator: Emulator, saved: Restore) -> Self:
        """Start an emulator that goes on with a saved machine; otherwise like :meth:`boot`."""
        machine = cls._begin(emulator, saved, None)
        machine.modules = saved.modules
        return machine

    @classmethod
    def _begin(cls, emulator: Emulator, start: Boot | Restore, boot_seconds: float | None) -> Self:
        ports = Ports()
        try:
            return cls(ports, StartedEmulator(emulator, start, ports), boot_seconds)
        except BaseException:
            ports.close()
            raise

    def fork(self) -> Self:
        """Return a copy of this machine, which has to wait for input of its program.

        The copy has the same memory, processor state and clock.  It ends when this machine ends.

        :raises ForkFailed: the emulator could not fork
        :raises TemplateLost: this machine has ended, or does not wait for input
        """
        ports = Ports()
        try:
            patience = Patience(self._process, _FORK_SECONDS)
            pid, pidfd = request_fork(self._ports.control, ports, patience)
        except BaseException:
            ports.close()
            raise
        ports.hand_over()
        fork = type(self)(ports, ForkedEmulator(pid, pidfd, ports))
        fork.modules = self.modules
        fork._watched = self._watched  # noqa: SLF001 - the emulator's memory has been copied
        return fork

    def read_text(self, ranges: Sequence[tuple[int, int]]) -> list[bytes] | None:
        """Return the bytes at linear addresses while the machine waits for input of its program.

        :param ranges: address and size, bytes
        :returns: None if a page is not mapped
        :raises LabError: the machine has ended
        """
        return read_text(self._ports.control, ranges)

    def watch_blocks(self, addresses: Sequence[int]) -> None:
        """Report which of these basic blocks the kernel reaches, as ``BlocksReached``.

        Forks report them as well.  The machine has to wait for input of its program.

        :param addresses: of their first instructions, in ascending order
        :raises LabError: the machine has ended
        """
        watch_blocks(self._ports.control, addresses)
        self._watched = True

    def kill(self) -> None:
        """Kill the machine, from any thread; :meth:`events` then yields ``Ended``."""
        self._process.kill()

    def was_killed(self) -> bool:
        """Return True if a signal ended the machine's emulator; call it after it has ended."""
        status = self._process.wait()
        return status is None or status < 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._over = True
        self._process.kill()
        self._ports.close()
        self._selector.close()

    @property
    def console_text(self) -> str:
        """The output of the kernel's console so far."""
        return self._console.decode("utf-8", errors="replace")

    def console_tail(self) -> tuple[str, ...]:
        """Return the last lines of the console."""
        return tuple(console_text.lines(self.console_text)[-_LAST_LINES:])

    @property
    def seconds(self) -> float:
        """Wall time since the emulator started."""
        return time.monotonic() - self._started

    def memory_bytes(self) -> int:
        """Return the resident memory of the emulator, bytes; 0 if it has ended."""
        return memory_bytes(self._process)

    def send(self, line: str) -> None:
        """Queue a line for the program without blocking; dropped if the machine has ended."""
        if not self._over:
            self._outgoing += line.encode() + b"\n"
            self._flush()

    def events(self, timeout: float) -> Iterator[Event]:
        """Yield events until ``Ended``; the caller may stop and call it again.

        :param timeout: seconds of the emulator's CPU time without output on channel and console
            that count as a hang
        :raises BootFailed: the program did not start in time, or the kernel panicked before
        :raises LabError: the guest could not start the program
        """
        patience = Patience(self._process, timeout)
        while self._pending or not self._over:
            while self._pending:
                yield self._pending.popleft()
                patience.renew()
            if self._over:
                return
            found = self._wait(patience if self._program_started else self._boot_patience)
            if isinstance(found, EndReason):
                self._silent(found)
            elif self._exchange(found):
                patience.renew()
            if max(len(self._console), len(self._incoming)) > _MOST_BYTES and not self._over:
                self._silent(EndReason.HANG)

    # Sleeps until a descriptor is ready; returns those that are, or why there is none.
    def _wait(self, patience: Patience) -> list[int] | EndReason:
        while True:
            left = patience.look_at - time.monotonic()
            if ready := [key.fd for key, _ in self._selector.select(max(left, 0.0))]:
                return ready
            if left <= 0 and (over := patience.look()):
                return over

    def _silent(self, reason: EndReason) -> None:
        if not self._program_started:
            late = f"its program did not start within {self._boot_seconds:.0f} s"
            raise self._boot_failed(late if reason is EndReason.HANG else reason.value)
        if reason is EndReason.HANG:
            self._read_blocks()
        self._finish(reason)

    # Reads and writes; returns True if the guest sent anything.
    def _exchange(self, ready: list[int]) -> bool:
        received = False
        seen = len(self._console)
        for descriptor in ready:
            if descriptor == self._ports.channel_in:
                self._flush()
            elif (content := read_available(descriptor)) is None:
                self._selector.unregister(descriptor)
            else:
                self._sources[descriptor] += content
                received |= descriptor != self._ports.log
        self._split_lines()
        if console_text.is_panicking(self._console, seen):
            self._read_rest_of_panic(seen)
        elif self._ports.channel_out not in self._selector.get_map():
            self._emulator_ended()
        return received

    def _split_lines(self) -> None:
        *lines, rest = self._incoming.split(b"\n")
        self._incoming[:] = rest
        for line in lines:
            event = decode(bytes(line), self.seconds)
            if isinstance(event, Phase):
                self._process.guest_runs()
                self._program_started |= event.phase is BootPhase.START
            elif isinstance(event, ModuleLoaded):
                self.modules = {**self.modules, event.name: event.address}
            self._pending.append(event)

    # The panic may still be printed, and earlier output of the program may not have been read yet.
    def _read_rest_of_panic(self, start: int) -> None:
        patience = Patience(self._process, _PANIC_GRACE_SECONDS)
        has_ended = False
        while not console_text.is_complete(self._console, start) and not has_ended:
            if time.monotonic() > patience.look_at and (over := patience.look()):
                if over is EndReason.STALLED:
                    self._silent(over)
                    return
                break
            time.sleep(0.02)
            has_ended = self._has_ended()
            self._drain()
        if has_ended and not console_text.is_complete(self._console, start) and self.was_killed():
            # From outside, by the OOM killer or an administrator: the report is cut short.
            self._emulator_ended()
            return
        self._drain()
        self._split_lines()
        self._read_blocks()
        report = console_text.find_panic(self.console_text)
        if report is None or not self._program_started:
            headline = report.headline if report else "Kernel panic"
            raise self._boot_failed(f"the kernel panicked: {headline}")
        self._pending.append(ConsolePanic(report))
        self._finish(EndReason.PANIC)

    # A machine that has crashed or hangs does not report its blocks by itself.
    def _read_blocks(self) -> None:
        if not self._watched:
            return
        self._process.ask_to_end()
        limit = time.monotonic() + _REPORT_SECONDS
        while (left := limit - time.monotonic()) > 0:
            if not select.select([self._ports.channel_out], [], [], left)[0]:
                break
            if (content := read_available(self._ports.channel_out)) is None:
                break
            self._incoming += content
        self._split_lines()

    # Nothing is added to what can be read after it has returned True.
    def _has_ended(self) -> bool:
        channel = select.poll()
        channel.register(self._ports.channel_out, 0)
        return any(event & select.POLLHUP for _, event in channel.poll(0))

    def _drain(self) -> None:
        for descriptor, buffer in self._sources.items():
            while content := read_available(descriptor):
                buffer.extend(content)

    def _emulator_ended(self) -> None:
        status = self._process.wait()
        self._drain()
        self._split_lines()
        reason = _ENDINGS.get(status, EndReason.EMULATOR_DIED)
        if status != 0 and not self._program_started:
            what = f"{reason.value} ({status}) {self._emulator_messages()}".rstrip()
            raise self._boot_failed(what, EmulatorKilled if self.was_killed() else BootFailed)
        self._finish(reason)

    def _finish(self, reason: EndReason) -> None:
        self._process.kill()
        self._pending.append(Ended(reason, self._emulator_messages()))
        self._over = True

    # The emulator's log without the lines that it always prints.
    def _emulator_messages(self) -> str:
        lines = console_text.lines(self._log.decode("utf-8", errors="replace"))
        return "\n".join(line for line in lines if not _EMULATOR_BANNER.match(line))

    def _boot_failed(self, what: str, kind: type[BootFailed] = BootFailed) -> BootFailed:
        self._process.kill()
        self._over = True
        return kind(f"the emulated host did not boot: {what}", self.console_tail())

    def _flush(self) -> None:
        channel = self._ports.channel_in
        try:
            while self._outgoing:
                del self._outgoing[: os.write(channel, self._outgoing)]
        except BlockingIOError:
            pass
        except BrokenPipeError:
            self._outgoing.clear()
        watched = channel in self._selector.get_map()
        if self._outgoing and not watched:
            self._selector.register(channel, selectors.EVENT_WRITE)
        elif watched and not self._outgoing:
            self._selector.unregister(channel)
