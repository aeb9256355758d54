"""How the worker's processes reach the driver: by standard streams, or the emulator's I/O port."""

from __future__ import annotations

import os

from kvmprobe.native._ffi import ffi, lib

CHANNEL_PORT = 0x5E0


class PipeTransport:
    """Writes to a descriptor.

    :cvar port: 0, for the executor: standard streams
    """

    port = 0

    def __init__(self, write_fd: int) -> None:
        self._write_fd = write_fd

    def write(self, line: bytes) -> None:
        """Write one line, which includes its newline."""
        while line:
            line = line[os.write(self._write_fd, line) :]


class PortTransport:
    """The emulator's I/O port: a written line leaves the guest at once, even if the kernel dies.

    The process needs I/O privilege level 3, which it inherits from the emulated host's init.
    """

    port = CHANNEL_PORT

    def write(self, line: bytes) -> None:
        """Write the line with one string instruction."""
        lib.kvmprobe_port_out(CHANNEL_PORT, ffi.from_buffer(line), len(line))
