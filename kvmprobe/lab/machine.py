"""One running emulated machine: what it says, as events, and what it is told.

Knows when a boot, a silence or a panic has lasted long enough; processes and pipes are
``emulator_process``'s business, what the words mean is ``machine_events``' and ``console``'s.
"""

from __future__ import annotations

import os
import re
import selectors
import time
from collections import deque
from typing import TYPE_CHECKING, Self

from kvmprobe.errors import BootFailed
from kvmprobe.lab.emulator_process import EmulatorProcess, read_available
from kvmprobe.lab.machine_events import ConsolePanic, Ended, EndReason, Event, Phase, decode
from kvmprobe.results import console_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmprobe.lab.boot_image import BootImage
    from kvmprobe.lab.emulator import Emulator

BOOT_SECONDS = 180.0
_PANIC_GRACE_SECONDS = 3.0
_LAST_LINES = 30
_READY = "start"
# ABI: what the patched emulator ends with when KVMPROBE_NO_REBOOT is set and the machine resets.
_RESET_STATUS = 3
_EMULATOR_CHATTER = re.compile(r"^(?:={20,}|\d{11}i\[|\s+(?:Bochs x86|Built from|Timestamp))")


class Machine:
    """A machine that starts when the ``with`` block is entered and is gone when it is left.

    To be used by one thread, which must outlive it: the kernel kills the emulator with that thread.
    """

    def __init__(
        self,
        emulator: Emulator,
        image: BootImage,
        boot_seconds: float = BOOT_SECONDS,
        disk: int | None = None,
    ) -> None:
        """Prepare a machine.

        :param boot_seconds: how long its program may take to start, seconds of wall time
        :param disk: descriptor of its disk's image, which outlives the machine
        """
        self._emulator = emulator
        self._image = image
        self._boot_seconds = boot_seconds
        self._disk = disk
        self._selector = selectors.DefaultSelector()
        self._incoming, self._outgoing = bytearray(), bytearray()
        self._console, self._log = bytearray(), bytearray()
        self._pending: deque[Event] = deque()
        self._program_started = False
        self._over = False

    def __enter__(self) -> Self:
        """Start the emulator.

        :raises MissingTools: a program it needs is not installed
        """
        self._started = time.monotonic()
        self._process = EmulatorProcess(self._emulator, self._image, self._disk)
        self._sources = {
            self._process.channel_out: self._incoming,
            self._process.console: self._console,
            self._process.log: self._log,
        }
        for descriptor in self._sources:
            self._selector.register(descriptor, selectors.EVENT_READ)
        return self

    def __exit__(self, *_error: object) -> None:
        """Kill whatever is left."""
        self._over = True
        self._process.close()
        self._selector.close()

    @property
    def console_text(self) -> str:
        """Everything the kernel's console has said so far."""
        return self._console.decode("utf-8", errors="replace")

    @property
    def seconds(self) -> float:
        """Wall time since the emulator's start."""
        return time.monotonic() - self._started

    def memory_bytes(self) -> int:
        """Return the resident memory of the emulator, bytes; 0 when it is gone."""
        return self._process.memory_bytes()

    def send(self, line: str) -> None:
        """Queue a line for the program; never blocks, and is dropped if the machine is gone."""
        if not self._over:
            self._outgoing += line.encode() + b"\n"
            self._flush()

    def events(self, timeout: float) -> Iterator[Event]:
        """Yield what happens, ending with ``Ended``; may be left and called again.

        :param timeout: seconds of silence, on channel and console, that count as a hang
        :raises BootFailed: the program was not started within the time for that
        :raises LabError: the guest could not start the program
        """
        silent_since = time.monotonic()
        while self._pending or not self._over:
            while self._pending:
                yield self._pending.popleft()
                silent_since = time.monotonic()
            if self._over:
                return
            ready = self._wait(silent_since + timeout)
            if not ready:
                self._finish(EndReason.HANG)
            elif self._exchange(ready):
                silent_since = time.monotonic()

    # Sleeps until something can be read or written; empty when the deadline (monotonic time) has
    # passed.
    def _wait(self, deadline: float) -> list[int]:
        if not self._program_started:
            deadline = self._started + self._boot_seconds
        while True:
            left = deadline - time.monotonic()
            ready = [key.fd for key, _ in self._selector.select(max(left, 0.0))]
            if ready or left <= 0:
                break
        if not ready and not self._program_started:
            raise self._boot_failed(f"its program did not start within {self._boot_seconds:.0f} s")
        return ready

    # Moves bytes; True when the guest gave a sign of life.
    def _exchange(self, ready: list[int]) -> bool:
        heard = False
        seen = len(self._console)
        for descriptor in ready:
            if descriptor == self._process.channel_in:
                self._flush()
            elif (content := read_available(descriptor)) is None:
                self._selector.unregister(descriptor)
            else:
                self._sources[descriptor] += content
                heard |= descriptor != self._process.log
        self._split_lines()
        if console_text.is_panicking(self._console, seen):
            self._hear_panic_out(seen)
        elif self._process.channel_out not in self._selector.get_map():
            self._emulator_ended()
        return heard

    def _split_lines(self) -> None:
        *lines, rest = self._incoming.split(b"\n")
        self._incoming[:] = rest
        for line in lines:
            event = decode(bytes(line), self.seconds)
            if isinstance(event, Phase):
                self._process.release_images()
                self._program_started |= event.name == _READY
            self._pending.append(event)

    # The panic's text is still being printed, and what the program said before it may not be read
    # yet.
    def _hear_panic_out(self, start: int) -> None:
        limit = time.monotonic() + _PANIC_GRACE_SECONDS
        while not console_text.is_complete(self._console, start) and time.monotonic() < limit:
            time.sleep(0.02)
            self._drain()
        self._drain()
        self._split_lines()
        report = console_text.find_panic(self.console_text)
        if report is None or not self._program_started:
            headline = report.headline if report else "Kernel panic"
            raise self._boot_failed(f"the kernel panicked: {headline}")
        self._pending.append(ConsolePanic(report))
        self._finish(EndReason.PANIC)

    def _drain(self) -> None:
        for descriptor, buffer in self._sources.items():
            while content := read_available(descriptor):
                buffer.extend(content)

    def _emulator_ended(self) -> None:
        status = self._process.wait()
        self._drain()
        self._split_lines()
        endings = {0: EndReason.FINISHED, _RESET_STATUS: EndReason.RESET}
        reason = endings.get(status, EndReason.EMULATOR_DIED)
        if status != 0 and not self._program_started:
            raise self._boot_failed(f"{reason.value} ({status}) {self._last_words()}".rstrip())
        self._finish(reason)

    def _finish(self, reason: EndReason) -> None:
        self._process.kill()
        self._pending.append(Ended(reason, self._last_words()))
        self._over = True

    # What the emulator says about its own end, between the lines it always prints.
    def _last_words(self) -> str:
        lines = console_text.lines(self._log.decode("utf-8", errors="replace"))
        return "\n".join(line for line in lines if not _EMULATOR_CHATTER.match(line))

    def _boot_failed(self, what: str) -> BootFailed:
        self._process.kill()
        self._over = True
        lines = console_text.lines(self.console_text)[-_LAST_LINES:]
        return BootFailed(f"the emulated host did not boot: {what}", tuple(lines))

    def _flush(self) -> None:
        channel = self._process.channel_in
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
