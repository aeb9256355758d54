"""System calls: each returns its value, or ``-errno``, and raises nothing.

The typed wrappers turn a negative result into :class:`~kvmprobe.errors.KernelCallError`.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from kvmprobe.abi.errnos import meaning
from kvmprobe.bindings._ffi import ffi, lib
from kvmprobe.bindings.packing import in_bits
from kvmprobe.errors import KernelCallError, LayoutError

if TYPE_CHECKING:
    from mmap import mmap

    from kvmprobe.abi.numbers import ArchPrctlCode


_ioctl = lib.kvmprobe_ioctl
_arch_prctl = lib.kvmprobe_arch_prctl
_address = ffi.from_buffer
_cast = ffi.cast


class Pinned:
    """A buffer that keeps its place as long as this object lives.

    :ivar address: for :func:`call`, or for a structure that refers to the buffer
    """

    __slots__ = ("_view", "address")

    def __init__(self, buffer: bytes | bytearray | mmap) -> None:
        # LIFETIME: the view keeps the buffer alive and, if it is resizable, exported.
        self._view = _address(buffer)
        self.address = int(_cast("size_t", self._view))


def call(fd: int, number: int, argument: int = 0) -> int:
    """Issue ``ioctl(fd, number, argument)`` with an integer argument.

    :param argument: 64 bits, unsigned
    :returns: the result, or ``-errno``
    """
    return int(_ioctl(fd, number, argument))


def call_buffer(fd: int, number: int, buffer: bytearray | memoryview) -> int:
    """Issue an ioctl on a buffer that the kernel reads, writes, or both.

    :param buffer: at least as many bytes as the kernel moves; it is not copied
    :returns: the result, or ``-errno``
    """
    # LIFETIME: `view` keeps the buffer exported, and so in place, until the call has returned.
    with _address(buffer) as view:
        return int(_ioctl(fd, number, _cast("size_t", view)))


def arch_prctl(code: int, feature_nr: int) -> int:
    """Issue ``arch_prctl(code, feature_nr)``.

    :returns: 0, or ``-errno``
    :raises LayoutError: the number does not fit 64 bits
    """
    if not in_bits(feature_nr, 64):
        raise LayoutError(f"arch_prctl: argument {feature_nr} does not fit 64 bits")
    return int(_arch_prctl(code, feature_nr))


def arch_prctl_bitmap(code: int) -> tuple[int, int]:
    """Issue a GET request; returns (0 or ``-errno``, the u64 bitmap)."""
    bitmap = bytearray(8)
    with _address(bitmap) as view:
        result = int(_arch_prctl(code, _cast("size_t", view)))
    return result, int.from_bytes(bitmap, sys.byteorder)


def checked(result: int, name: str, target: str) -> int:
    """Return a non-negative result; raise KernelCallError for ``-errno``."""
    if result < 0:
        raise KernelCallError(name, target, -result, meaning(name, -result))
    return result


def get_xcomp(code: ArchPrctlCode) -> int:
    """Return the bitmap of a GET_XCOMP_* request; ``permission`` has a function for each."""
    result, bitmap = arch_prctl_bitmap(code)
    checked(result, f"ARCH_{code.name}", "arch_prctl")
    return bitmap
