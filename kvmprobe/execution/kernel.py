"""Interprets lowered calls on the real kernel.  Runs in the worker's children; knows no op, no model."""

from __future__ import annotations

import errno
import mmap
import os
import struct
from typing import TYPE_CHECKING

from kvmprobe.abi import ioctls
from kvmprobe.abi.numbers import Msr
from kvmprobe.bindings.gateway import arch_prctl, call, call_buffer
from kvmprobe.bindings.vcpu import VcpuFd
from kvmprobe.bindings.vm import VmFd
from kvmprobe.errors import KernelCallError, ScenarioError
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

_GET_XSAVE2 = ioctls.GET_XSAVE2.number
_GET_MSRS = ioctls.GET_MSRS.number
_XSTATE_BV = struct.Struct("=Q")
_MSR_ENTRY = struct.Struct("=I4xQ")

Reply = tuple[int, bytearray | None]


class Session:
    """What one scenario holds open: descriptors by name, captured outputs, run areas.

    :ivar xstate_bv: as last read back, 0 before
    :ivar xfd: as last read back, 0 before
    """

    def __init__(self, device: str) -> None:
        self.device = device
        self.fds: dict[str, int] = {}
        self.captured: dict[str, bytearray] = {}
        self.vms: dict[str, VmFd] = {}
        self.vcpus: dict[str, VcpuFd] = {}
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
            return lambda session: _open(session, binds)
        case ArchPrctl(code, feature_nr):
            return lambda _session: (arch_prctl(code, feature_nr), None)
        case MapMemory():
            return lambda session: _map(session, lowered)
        case RunVcpu(on, immediate_exit):
            return lambda session: _run(session, on, immediate_exit)
        case Ioctl():
            return _prepare_ioctl(lowered)


def loads_guest_fpu(lowered: Call) -> bool:
    """Tell whether the call makes the host load the guest's fpstate."""
    return isinstance(lowered, RunVcpu)


def _prepare_ioctl(lowered: Ioctl) -> Callable[[Session], Reply]:
    on, number = lowered.on, lowered.number
    match lowered.argument:
        case Immediate(value):
            binds = lowered.binds
            if binds:
                return lambda session: _bind(
                    session, binds, on, call(session.fds[on], number, value)
                )
            return lambda session: (call(session.fds[on], number, value), None)
        case Literal(content):
            # LIFETIME: one copy for all runs; the kernel only reads it.
            buffer = bytearray(content)
            return lambda session: (call_buffer(session.fds[on], number, buffer), None)
        case Captured(name):
            return lambda session: (
                call_buffer(session.fds[on], number, _captured(session, name)),
                None,
            )
        case Output() as output:
            return _prepare_output(on, number, output)


def _prepare_output(on: str, number: int, output: Output) -> Callable[[Session], Reply]:
    blank = output.head.ljust(output.size, bytes([CANARY]))

    def issue(session: Session) -> Reply:
        buffer = bytearray(blank)
        result = call_buffer(session.fds[on], number, buffer)
        if result >= 0:
            if output.capture:
                session.captured[output.capture] = buffer
            if number == _GET_XSAVE2:
                (session.xstate_bv,) = _XSTATE_BV.unpack_from(buffer, 512)
            elif number == _GET_MSRS:
                _note_xfd(session, buffer, result)
        return result, buffer

    return issue


def _note_xfd(session: Session, buffer: bytearray, count: int) -> None:
    for nr in range(count):
        index, value = _MSR_ENTRY.unpack_from(buffer, 8 + 16 * nr)
        if index == Msr.IA32_XFD:
            session.xfd = value


def _captured(session: Session, name: str) -> bytearray:
    if name not in session.captured:
        raise ScenarioError(f"nothing captured {name!r} before it is used")
    return session.captured[name]


def _open(session: Session, binds: str) -> Reply:
    try:
        fd = os.open(session.device, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        return -(error.errno or errno.EIO), None
    session.fds[binds] = fd
    size = call(fd, ioctls.GET_VCPU_MMAP_SIZE.number)
    if size > 0:
        session.run_size = size
    return fd, None


def _bind(session: Session, binds: str, on: str, result: int) -> Reply:
    if result >= 0:
        session.fds[binds] = result
        if on in session.vms:
            session.vcpus[binds] = VcpuFd(result, session.run_size)
        else:
            session.vms[binds] = VmFd(result, session.run_size)
    return result, None


def _map(session: Session, lowered: MapMemory) -> Reply:
    try:
        session.vms[lowered.on].map_memory(lowered.slot, lowered.guest_address, lowered.content)
    except KernelCallError as error:
        return -(error.errno or errno.EIO), None
    return 0, None


def _run(session: Session, on: str, immediate_exit: int) -> Reply:
    vcpu = session.vcpus[on]
    result = vcpu.issue_run(immediate_exit)
    return result, bytearray(vcpu.exit_reason.to_bytes(4, "little"))
