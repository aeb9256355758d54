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
from typing import TYPE_CHECKING, Protocol

import psutil

from kvmprobe.errors import MissingTools
from kvmprobe.lab import bochs_config

if TYPE_CHECKING:
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
    """An emulator that was started to boot a kernel."""

    def __init__(
        self, emulator: Emulator, image: BootImage, ports: Ports, disk: int | None
    ) -> None:
        """Start it.

        :param disk: descriptor of the disk image; None for no disk
        :raises MissingTools: setpriv is not installed
        """
        self._files: list[int] = []
        self._images: list[int] = []
        try:
            self._process = self._start(emulator, image, ports, disk)
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

    def _start(
        self, emulator: Emulator, image: BootImage, ports: Ports, disk: int | None
    ) -> subprocess.Popen[bytes]:
        setpriv = shutil.which("setpriv")
        if setpriv is None:
            raise MissingTools(("util-linux",), "the emulated host")
        self._images += [self._memory_file(part.content) for part in image.parts]
        ram = [
            (part.address, _path(descriptor))
            for part, descriptor in zip(image.parts, self._images, strict=True)
        ]
        # By descriptor: given a path, the emulator leaves a lock file when killed.
        disk_path = "" if disk is None else _path(disk)
        firmware = str(emulator.firmware)
        text = bochs_config.text(image.memory_mib, image.processors, firmware, ram, disk_path)
        configuration = self._memory_file(text.encode())
        ends = dict(zip(_ENDS, ports.machine_ends, strict=True))
        log = ends.pop("log")
        disks = () if disk is None else (disk,)
        return subprocess.Popen(
            [setpriv, "--pdeathsig", "KILL", emulator.bochs, "-q", "-f", _path(configuration)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            env={name: str(end) for name, end in ends.items()} | {"KVMPROBE_NO_REBOOT": "1"},
            pass_fds=(*ends.values(), configuration, *self._images, *disks),
            # A session of its own: it gets no SIGINT and no SIGHUP from the terminal.
            start_new_session=True,
        )

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
