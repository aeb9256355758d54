"""The emulator as a process: its pipes, its memory images, and killing it.

The emulator never outlives kvmprobe: ``close`` kills its process group, and the kernel kills it
when the thread that started it ends, even by SIGKILL.  Images and configuration are memfds, so no
files are left either.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import shutil
import signal
import subprocess
from typing import TYPE_CHECKING

import psutil

from kvmprobe.errors import MissingTools
from kvmprobe.lab import bochs_config

if TYPE_CHECKING:
    from kvmprobe.lab.boot_image import BootImage
    from kvmprobe.lab.emulator import Emulator

_PIPE_BYTES = 1 << 20


class EmulatorProcess:
    """A started emulator.

    :ivar channel_in: non-blocking descriptor for lines to the guest
    :ivar channel_out: non-blocking descriptor for lines from the guest; EOF when the emulator ends
    :ivar console: non-blocking descriptor of the guest's first serial port
    :ivar log: non-blocking descriptor of the emulator's own messages
    """

    def __init__(self, emulator: Emulator, image: BootImage, disk: int | None) -> None:
        """Start the emulator.

        :param disk: descriptor of the disk image; None for no disk
        :raises MissingTools: setpriv is not installed
        """
        self._files: list[int] = []
        self._images: list[int] = []
        try:
            self._start(emulator, image, disk)
        except BaseException:
            self._close_files()
            raise

    def release_images(self) -> None:
        """Free the images; the emulator has copied them once the guest runs."""
        for descriptor in self._images:
            os.ftruncate(descriptor, 0)
        self._images.clear()

    def memory_bytes(self) -> int:
        """Return the resident memory, bytes; 0 if the emulator has ended."""
        try:
            return int(psutil.Process(self._process.pid).memory_info().rss)
        except psutil.NoSuchProcess:
            return 0

    def wait(self) -> int:
        """Return the exit status; call it after EOF on the channel."""
        return self._process.wait()

    def kill(self) -> None:
        """Kill the emulator if it is running."""
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def close(self) -> None:
        """Kill the emulator and close all descriptors."""
        self.kill()
        self._close_files()

    def _start(self, emulator: Emulator, image: BootImage, disk: int | None) -> None:
        setpriv = shutil.which("setpriv")
        if setpriv is None:
            raise MissingTools(("util-linux",), "the emulated host")
        in_read, self.channel_in = self._pipe()
        self.channel_out, out_write = self._pipe()
        self.console, console_write = self._pipe()
        self.log, log_write = self._pipe()
        self._images += [self._memory_file(part.content) for part in image.parts]
        ram = [
            (part.address, _path(descriptor))
            for part, descriptor in zip(image.parts, self._images, strict=True)
        ]
        configuration = self._memory_file(
            bochs_config.text(
                image.memory_mib,
                image.processors,
                str(emulator.firmware),
                _path(console_write),
                ram,
                # By descriptor: given a path, the emulator leaves a lock file when killed.
                "" if disk is None else _path(disk),
            ).encode()
        )
        disks = () if disk is None else (disk,)
        self._process = subprocess.Popen(
            [setpriv, "--pdeathsig", "KILL", emulator.bochs, "-q", "-f", _path(configuration)],
            stdin=subprocess.DEVNULL,
            stdout=log_write,
            stderr=log_write,
            cwd="/",
            env={
                "KVMPROBE_CHANNEL_IN": str(in_read),
                "KVMPROBE_CHANNEL_OUT": str(out_write),
                "KVMPROBE_NO_REBOOT": "1",
            },
            pass_fds=(in_read, out_write, console_write, configuration, *self._images, *disks),
            # A session of its own: it gets no SIGINT and no SIGHUP from the terminal.
            start_new_session=True,
        )
        for descriptor in (in_read, out_write, console_write, log_write, configuration):
            self._files.remove(descriptor)
            os.close(descriptor)
        for descriptor in (self.channel_in, self.channel_out, self.console, self.log):
            os.set_blocking(descriptor, False)

    def _pipe(self) -> tuple[int, int]:
        ends = os.pipe2(os.O_CLOEXEC)
        self._files += ends
        return ends

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


def read_available(descriptor: int) -> bytes | None:
    """Read up to 1 MiB from a non-blocking pipe; b"" if it is empty, None at EOF."""
    try:
        return os.read(descriptor, _PIPE_BYTES) or None
    except BlockingIOError:
        return b""


def _path(descriptor: int) -> str:
    return f"/proc/self/fd/{descriptor}"
