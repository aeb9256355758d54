"""Interprets lowered calls on the real kernel.  Runs in the worker's children; knows no op, no model.

Each call is prepared once, in the worker: its buffers have their places before a child is forked, and
a child gets its own copy of a page when it, or the kernel for it, writes there.  What a child does for a
call is little, because each object it touches for the first time costs it a page fault and a copy.
"""

from __future__ import annotations

import errno
import mmap
import os
import struct
from typing import TYPE_CHECKING

from kvmprobe.abi import ioctls
from kvmprobe.abi.numbers import Msr
from kvmprobe.bindings.gateway import Pinned, arch_prctl, call
from kvmprobe.errors import ScenarioError
from kvmprobe.scenarios.calls import (
    CANARY,
    ArchPrctl,
    Captured,
    Immediate,
    Ioctl,
    Literal,
    MapMemory,
    OpenKvm,
    Output,
    RunVcpu,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from kvmprobe.scenarios.calls import Call

_GET_VCPU_MMAP_SIZE = ioctls.GET_VCPU_MMAP_SIZE.number
_SET_USER_MEMORY_REGION = ioctls.SET_USER_MEMORY_REGION.number
_CREATE_VCPU = ioctls.CREATE_VCPU.number
_RUN = ioctls.RUN.number
_GET_XSAVE2 = ioctls.GET_XSAVE2.number
_GET_MSRS = ioctls.GET_MSRS.number
_XFD = int(Msr.IA32_XFD)
_XSTATE_BV = slice(512, 520)
_MSR_ENTRY = struct.Struct("=I4xQ")
_IMMEDIATE_EXIT = 1
_EXIT_REASON = slice(8, 12)

Reply = tuple[int, bytes | None]


class Session:
    """What one scenario holds open: descriptors and run areas by name, captured outputs.

    :ivar xstate_bv: as last read back, 0 before
    :ivar xfd: as last read back, 0 before
    """

    __slots__ = ("captured", "device", "fds", "run_areas", "run_size", "xfd", "xstate_bv")

    def __init__(self, device: str) -> None:
        self.device = device
        self.fds: dict[str, int] = {}
        self.run_areas: dict[str, mmap.mmap] = {}
        self.captured: dict[str, bytes] = {}
        self.run_size = mmap.PAGESIZE
        self.xstate_bv = 0
        self.xfd = 0

    @property
    def next_load_faults(self) -> int:
        """Components that the last read-backs show in XSTATE_BV & XFD."""
        return self.xstate_bv & self.xfd


def prepare(lowered: Call) -> Callable[[Session], Reply]:
    """Turn a call into a function that issues it; returns (result or -errno, output or None)."""
    match lowered:
        case OpenKvm(binds):
            return lambda session: (_open(session, binds), None)
        case ArchPrctl(code, feature_nr):
            return lambda _session: (arch_prctl(code, feature_nr), None)
        case MapMemory():
            return _GuestMemory(lowered).give
        case RunVcpu(on, immediate_exit):
            return lambda session: _run(session, on, immediate_exit)
        case Ioctl():
            return _prepare_ioctl(lowered)


def loads_guest_fpu(lowered: Call) -> bool:
    """Tell whether the call makes the host load the guest's fpstate."""
    return isinstance(lowered, RunVcpu)


def _prepare_ioctl(lowered: Ioctl) -> Callable[[Session], Reply]:
    on, number, binds = lowered.on, lowered.number, lowered.binds
    match lowered.argument:
        case Immediate(value) if binds:
            return lambda session: (_bind(session, binds, number, on, value), None)
        case Immediate(value):
            return lambda session: (call(session.fds[on], number, value), None)
        case Literal(content):
            literal = Pinned(content)
            return lambda session: (call(session.fds[on], number, literal.address), None)
        case Captured(name):
            return lambda session: (_give_back(session, name, on, number), None)
        case Output() as output:
            return _prepare_output(on, number, output)


def _prepare_output(on: str, number: int, output: Output) -> Callable[[Session], Reply]:
    blank = output.head.ljust(output.size, bytes([CANARY]))
    capture = output.capture
    buffer = bytearray(blank)
    place = Pinned(buffer)

    def issue(session: Session) -> Reply:
        buffer[:] = blank
        result = call(session.fds[on], number, place.address)
        content = bytes(buffer)
        if result >= 0:
            if capture:
                session.captured[capture] = content
            elif number == _GET_XSAVE2:
                session.xstate_bv = int.from_bytes(content[_XSTATE_BV], "little")
            elif number == _GET_MSRS:
                _note_xfd(session, content, result)
        return result, content

    return issue


def _note_xfd(session: Session, content: bytes, count: int) -> None:
    for nr in range(count):
        index, value = _MSR_ENTRY.unpack_from(content, 8 + 16 * nr)
        if index == _XFD:
            session.xfd = value


def _give_back(session: Session, name: str, on: str, number: int) -> int:
    if name not in session.captured:
        raise ScenarioError(f"nothing captured {name!r} before it is used")
    return call(session.fds[on], number, Pinned(session.captured[name]).address)


class _GuestMemory:
    """Guest memory with its content, and the structure that tells KVM where it is."""

    def __init__(self, lowered: MapMemory) -> None:
        self._on = lowered.on
        size = -(-len(lowered.content) // mmap.PAGESIZE) * mmap.PAGESIZE
        # ISOLATION: private, so that what a guest writes is its own child's only.
        memory = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        memory.write(lowered.content)
        self._memory = Pinned(memory)
        place = (lowered.slot, 0, lowered.guest_address, size, self._memory.address)
        self._region = Pinned(struct.pack("=IIQQQ", *place))

    def give(self, session: Session) -> Reply:
        """Issue KVM_SET_USER_MEMORY_REGION."""
        return call(session.fds[self._on], _SET_USER_MEMORY_REGION, self._region.address), None


def _open(session: Session, binds: str) -> int:
    try:
        fd = os.open(session.device, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        return -(error.errno or errno.EIO)
    session.fds[binds] = fd
    size = call(fd, _GET_VCPU_MMAP_SIZE)
    if size > 0:
        session.run_size = size
    return fd


def _bind(session: Session, binds: str, number: int, on: str, value: int) -> int:
    result = call(session.fds[on], number, value)
    if result >= 0:
        session.fds[binds] = result
        if number == _CREATE_VCPU:
            session.run_areas[binds] = mmap.mmap(result, session.run_size)
    return result


def _run(session: Session, on: str, immediate_exit: int) -> Reply:
    area = session.run_areas[on]
    area[_IMMEDIATE_EXIT] = immediate_exit
    result = call(session.fds[on], _RUN)
    return result, area[_EXIT_REASON]
