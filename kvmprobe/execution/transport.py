"""How the worker and its driver exchange lines: through pipes, or the emulator's I/O port."""

from __future__ import annotations

import os
from typing import Protocol

from kvmprobe.native._ffi import ffi, lib

CHANNEL_PORT = 0x5E0
CONTROL_PORT = 0x5E1
# To the control port: forget which blocks of the kernel were reached; report them.
_FORGET_BLOCKS, _REPORT_BLOCKS = b"c", b"C"
_CHUNK = 65536


class Transport(Protocol):
    """Exchanges lines of JSON."""

    @property
    def write_fd(self) -> int:
        """Descriptor that a child writes to; -1 means CHANNEL_PORT."""

    def read_line(self) -> bytes:
        """Return the next line without its newline; empty at the end of input."""

    def write(self, line: bytes) -> None:
        """Write one line, which includes its newline."""

    def settled(self) -> None:
        """Tell that this process waits for its first line: its machine may be saved."""

    def scenario_begins(self) -> None:
        """Forget which blocks of the kernel were reached, if they are watched."""

    def scenario_ends(self) -> None:
        """Have the blocks reported that were reached since, if they are watched."""


class PipeTransport:
    """Reads from one descriptor and writes to another."""

    def __init__(self, read_fd: int, write_fd: int) -> None:
        self._read_fd = read_fd
        self.write_fd = write_fd
        self._pending = b""

    def read_line(self) -> bytes:
        """Read until a line is complete."""
        while b"\n" not in self._pending:
            chunk = os.read(self._read_fd, _CHUNK)
            if not chunk:
                return b""
            self._pending += chunk
        line, _, self._pending = self._pending.partition(b"\n")
        return line

    def write(self, line: bytes) -> None:
        """Write the whole line."""
        while line:
            line = line[os.write(self.write_fd, line) :]

    def settled(self) -> None:
        """Nobody saves a real host."""

    def scenario_begins(self) -> None:
        """Nothing: the blocks of a real host's kernel are not watched."""

    def scenario_ends(self) -> None:
        """Nothing."""


class PortTransport:
    """The emulator's I/O port: a written line leaves the guest at once, even if the kernel dies.

    The process needs I/O privilege level 3, which it inherits from the emulated host's init.
    """

    def __init__(self) -> None:
        self.write_fd = -1
        self._buffer = bytearray(_CHUNK)

    def read_line(self) -> bytes:
        """Read until a line is complete; the emulator blocks until there is input."""
        line = b""
        while True:
            with ffi.from_buffer(self._buffer) as view:
                size = lib.kvmprobe_port_line(CHANNEL_PORT, view, _CHUNK)
            line += self._buffer[:size]
            if line.endswith(b"\n"):
                return line[:-1]
            if size < _CHUNK:
                return b""

    def write(self, line: bytes) -> None:
        """Write the line with one string instruction."""
        lib.kvmprobe_port_out(CHANNEL_PORT, ffi.from_buffer(line), len(line))

    def settled(self) -> None:
        """Let the emulator save the machine, if it wants to; a restored machine goes on here."""
        lib.kvmprobe_port_save(CONTROL_PORT)

    def scenario_begins(self) -> None:
        """Have the emulator forget."""
        lib.kvmprobe_port_out(CONTROL_PORT, ffi.from_buffer(_FORGET_BLOCKS), 1)

    def scenario_ends(self) -> None:
        """Have the emulator write a line."""
        lib.kvmprobe_port_out(CONTROL_PORT, ffi.from_buffer(_REPORT_BLOCKS), 1)
