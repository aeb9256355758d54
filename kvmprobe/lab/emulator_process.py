"""The emulator as a process: its pipes, its images in memory, its certain end.

Nothing survives this process: the emulator has its own process group, which ``close`` kills, and
the kernel kills it when the thread that started it ends, even by SIGKILL.  No files are left
either, because there are none: images and configuration are in anonymous memory.  Knows nothing of
what the bytes mean.
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

    :ivar channel_in: descriptor of lines to the guest, non-blocking
    :ivar channel_out: descriptor of lines from the guest, non-blocking; ends with the emulator
    :ivar console: descriptor of the guest's first serial port, non-blocking
    :ivar log: descriptor of what the emulator itself says, non-blocking
    """

    def __init__(self, emulator: Emulator, image: BootImage, disk: int | None) -> None:
        """Start the emulator.

        :param disk: descriptor of its disk's image
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
        """Give back the memory of the images, which the emulator has copied once the guest runs."""
        for descriptor in self._images:
            os.ftruncate(descriptor, 0)
        self._images.clear()

    def memory_bytes(self) -> int:
        """Return the resident memory, bytes; 0 when the emulator is gone."""
        try:
            return int(psutil.Process(self._process.pid).memory_info().rss)
        except psutil.NoSuchProcess:
            return 0

    def wait(self) -> int:
        """Return the exit status of an emulator that has closed its channel."""
        return self._process.wait()

    def kill(self) -> None:
        """End the emulator now, if it has not ended."""
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def close(self) -> None:
        """End the emulator and close every descriptor."""
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
                # ORDER: by descriptor, or the emulator leaves a lock file beside it when killed.
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
            # A session of its own: neither Ctrl-C nor a closing terminal reaches it.
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
            # Its pages are in an anonymous file, and need not be in this process, too.
            content.madvise(mmap.MADV_DONTNEED)
        return descriptor

    def _close_files(self) -> None:
        while self._files:
            os.close(self._files.pop())


def read_available(descriptor: int) -> bytes | None:
    """Return what a non-blocking pipe holds now, up to 1 MiB: empty if nothing, None at its end."""
    try:
        return os.read(descriptor, _PIPE_BYTES) or None
    except BlockingIOError:
        return b""


def _path(descriptor: int) -> str:
    return f"/proc/self/fd/{descriptor}"
