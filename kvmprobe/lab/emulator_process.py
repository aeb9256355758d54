"""The emulator's processes: started with a machine's memory, or forked from another machine.

No emulator outlives kvmprobe.  The kernel kills a started one when the thread that started it ends,
even by SIGKILL, and a forked one when the emulator that it was forked from ends.  Images and
configuration are memfds, so no files are left either.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import shutil
import signal
import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import psutil

from kvmprobe.errors import MissingTools
from kvmprobe.lab import bochs_config

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from kvmprobe.lab.boot_image import BootImage
    from kvmprobe.lab.emulator import Emulator
    from kvmprobe.lab.ports import Ports

_ENDS = (
    "KVMPROBE_CHANNEL_IN",
    "KVMPROBE_CHANNEL_OUT",
    "KVMPROBE_CONSOLE",
    "log",
    "KVMPROBE_CONTROL",
)


@dataclass(frozen=True, slots=True)
class Save:
    """Where a booted machine is saved, once its worker waits for input.

    :ivar folder: an empty directory
    :ivar told: descriptor that gets ``saved`` or an errno; EOF if the emulator was killed
    """

    folder: Path
    told: int


@dataclass(frozen=True, slots=True)
class Boot:
    """Start by booting a kernel.

    :ivar disk: descriptor of the disk image; None for no disk
    :ivar save: where to save the machine; None not to
    """

    image: BootImage
    disk: int | None = None
    save: Save | None = None

    @property
    def descriptors(self) -> tuple[int, ...]:
        """What the emulator has to inherit."""
        told = None if self.save is None else self.save.told
        return tuple(descriptor for descriptor in (self.disk, told) if descriptor is not None)


@dataclass(frozen=True, slots=True)
class Restore:
    """Start with a saved machine.

    :ivar folder: what the emulator saved
    :ivar modules: addresses of the kernel's modules, by name
    """

    folder: Path
    modules: Mapping[str, int] = field(default_factory=dict)

    @property
    def descriptors(self) -> tuple[int, ...]:
        """What the emulator has to inherit."""
        return ()


class EmulatorProcess(Protocol):
    """A process that runs one machine."""

    @property
    def pid(self) -> int:
        """Process id."""

    def guest_runs(self) -> None:
        """Free what only starting the machine needed."""

    def wait(self) -> int | None:
        """Return the status with which it ended by itself; call it after EOF on the channel.

        None, or a negative number, if it was killed.
        """

    def ask_to_end(self) -> None:
        """Let it report which blocks were reached, and end."""

    def kill(self) -> None:
        """Kill the process if it is running, and free what belongs to it."""


class StartedEmulator:
    """An emulator that was started: it boots a kernel, or goes on with a saved machine."""

    def __init__(
        self,
        emulator: Emulator,
        start: Boot | Restore,
        ports: Ports,
    ) -> None:
        """Start it; it has the machine's ends of ``ports`` then.

        :raises MissingTools: setpriv is not installed
        """
        self._files: list[int] = []
        self._images: list[int] = []
        try:
            self._process = self._started(emulator, start, ports)
        except BaseException:
            self._close_files()
            raise
        ports.hand_over()

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def guest_runs(self) -> None:
        """Free the images, which the emulator has copied."""
        for descriptor in self._images:
            os.ftruncate(descriptor, 0)
        self._images.clear()

    def wait(self) -> int:
        """Return the exit status; minus the signal's number if it was killed."""
        return self._process.wait()

    def ask_to_end(self) -> None:
        """Let it report which blocks were reached, and end."""
        self._process.terminate()

    def kill(self) -> None:
        """Kill the emulator and all machines that were forked from it."""
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._close_files()

    def _started(
        self, emulator: Emulator, start: Boot | Restore, ports: Ports
    ) -> subprocess.Popen[bytes]:
        setpriv = shutil.which("setpriv")
        if setpriv is None:
            raise MissingTools(("util-linux",), "the emulated host")
        ends = dict(zip(_ENDS, ports.machine_ends, strict=True))
        log = ends.pop("log")
        environment = {name: str(end) for name, end in ends.items()} | {"KVMPROBE_NO_REBOOT": "1"}
        if isinstance(start, Restore):
            words = ("-r", str(start.folder))
        else:
            words = ("-f", _path(self._configuration(emulator, start)))
            if start.save is not None:
                environment["KVMPROBE_SNAPSHOT_DIR"] = str(start.save.folder)
                environment["KVMPROBE_SAVED"] = str(start.save.told)
        return subprocess.Popen(
            [setpriv, "--pdeathsig", "KILL", emulator.bochs, "-q", *words],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            env=environment,
            pass_fds=(*ends.values(), *self._files, *start.descriptors),
            # A session of its own: it gets no SIGINT and no SIGHUP from the terminal.
            start_new_session=True,
        )

    def _configuration(self, emulator: Emulator, start: Boot) -> int:
        image = start.image
        self._images += [self._memory_file(part.content) for part in image.parts]
        ram = [
            (part.address, _path(descriptor))
            for part, descriptor in zip(image.parts, self._images, strict=True)
        ]
        # By descriptor: given a path, the emulator leaves a lock file when killed.
        disk = "" if start.disk is None else _path(start.disk)
        firmware = str(emulator.firmware)
        text = bochs_config.text(image.memory_mib, image.processors, firmware, ram, disk)
        return self._memory_file(text.encode())

    def _memory_file(self, content: bytes | bytearray | mmap.mmap) -> int:
        descriptor = os.memfd_create("kvmprobe", os.MFD_CLOEXEC)
        self._files.append(descriptor)
        view = memoryview(content)
        while view:
            view = view[os.write(descriptor, view) :]
        if isinstance(content, mmap.mmap):
            # The memfd has a copy: this process does not need the pages.
            content.madvise(mmap.MADV_DONTNEED)
        return descriptor

    def _close_files(self) -> None:
        while self._files:
            os.close(self._files.pop())


class ForkedEmulator:
    """An emulator that was forked from another one."""

    def __init__(self, pid: int, pidfd: int, ports: Ports) -> None:
        self.pid = pid
        self._ports = ports
        self._pidfd: int | None = pidfd

    def guest_runs(self) -> None:
        """Nothing: it was not started."""

    def wait(self) -> int | None:
        """Return the status that it told before it ended; None if it was killed."""
        return self._ports.end_status()

    def ask_to_end(self) -> None:
        """Let it report which blocks were reached, and end."""
        if self._pidfd is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGTERM)

    def kill(self) -> None:
        """Kill the emulator if it is running."""
        pidfd, self._pidfd = self._pidfd, None
        if pidfd is None:
            return
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        os.close(pidfd)


def memory_bytes(process: EmulatorProcess) -> int:
    """Return the resident memory of a process, bytes; 0 if it has ended."""
    try:
        return int(psutil.Process(process.pid).memory_info().rss)
    except psutil.NoSuchProcess:
        return 0


def _path(descriptor: int) -> str:
    return f"/proc/self/fd/{descriptor}"
