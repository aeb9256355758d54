"""A KVM file descriptor: its calls raise errors, and it is closed once."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, ClassVar, Self

from kvmprobe.bindings.gateway import call, call_buffer, checked
from kvmprobe.bindings.packing import in_bits, pack
from kvmprobe.errors import LayoutError

if TYPE_CHECKING:
    from kvmprobe.abi.ioctls import IoctlSpec
    from kvmprobe.bindings.packing import Value

_CLOSED = -1


class KvmFd:
    """One descriptor; a context manager that closes it.

    A call that fails raises :class:`~kvmprobe.errors.KernelCallError`, which explains the errno.
    Docstrings list the errnos of their calls.  Every call can also fail with EBADF - the descriptor
    is closed; EIO - the VM belongs to another process, or KVM has marked it as dead; ENOMEM - the
    kernel is out of memory; ENOTTY - this kernel has no such call.

    :ivar fd: its number; -1 once it is closed
    """

    _target: ClassVar[str]

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def fileno(self) -> int:
        """Return the descriptor's number, for :mod:`select` and the like."""
        return self.fd

    @property
    def closed(self) -> bool:
        """True once the descriptor is closed."""
        return self.fd == _CLOSED

    def close(self) -> None:
        """Close the descriptor; closing it twice is harmless."""
        fd, self.fd = self.fd, _CLOSED
        if fd != _CLOSED:
            os.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def _issue(self, spec: IoctlSpec, argument: int = 0) -> int:
        if not in_bits(argument, 64):
            raise LayoutError(f"{spec.name}: argument {argument} does not fit 64 bits")
        return checked(call(self.fd, spec.number, argument), spec.name, self._target)

    def _move(self, spec: IoctlSpec, buffer: bytearray) -> int:
        return checked(call_buffer(self.fd, spec.number, buffer), spec.name, self._target)

    def _get(self, spec: IoctlSpec) -> bytes:
        buffer = bytearray(spec.size)
        self._move(spec, buffer)
        return bytes(buffer)

    def _set(self, spec: IoctlSpec, content: bytes) -> None:
        self._move(spec, bytearray(content))

    def _set_members(self, spec: IoctlSpec, **values: Value) -> None:
        if spec.argument is None:
            raise TypeError(f"{spec.name} takes an integer")
        self._set(spec, pack(spec.argument, values))
