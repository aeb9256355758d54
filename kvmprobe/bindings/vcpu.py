"""A vCPU descriptor and its run page."""

from __future__ import annotations

import mmap
import os
import struct
from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple, Self

from kvmprobe.abi import ioctls
from kvmprobe.bindings.gateway import call, checked, checked_ioctl_buffer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_IMMEDIATE_EXIT_OFFSET = 1
_EXIT_REASON_OFFSET = 8
_IO_PORT_OFFSET = 34
_SUBERROR_OFFSET = 32
_IO_DATA_OFFSET = 40


class ExitDetails(NamedTuple):
    """Fields of ``struct kvm_run``; which one means anything depends on the exit reason."""

    io_port: int
    io_byte: int
    suberror: int


class RunMode(IntEnum):
    """``kvm_run.immediate_exit``: whether KVM_RUN enters the guest."""

    REAL = 0
    IMMEDIATE_EXIT = 1


class VcpuFd:
    """One vCPU."""

    def __init__(self, fd: int, run_size: int) -> None:
        self.fd = fd
        self._run = mmap.mmap(fd, run_size)

    def close(self) -> None:
        """Unmap the run page and close the descriptor."""
        self._run.close()
        os.close(self.fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def set_cpuid2(self, table: bytes) -> None:
        """Set what CPUID tells the guest (KVM_SET_CPUID2).

        :param table: ``struct kvm_cpuid2`` with its entries
        :raises KernelCallError: E2BIG - more than 256 entries; EINVAL - differs after the guest has
            run, or a bad address width; EPERM - XTILE_DATA without guest permission; EFAULT
        :order: after the permission request; before SET_XCRS, XFD and an XSTATE with XTILE_DATA
        :see: arch/x86/kvm/cpuid.c: kvm_set_cpuid
        """
        checked_ioctl_buffer(self.fd, ioctls.SET_CPUID2, bytearray(table))

    def get_xsave2(self, size: int) -> bytes:
        """Return the uabi image, standard format (KVM_GET_XSAVE2).

        :param size: bytes, as KVM_CAP_XSAVE2 tells on the VM
        :raises KernelCallError: EFAULT - ``size`` is smaller than what this vCPU moves
        :see: Documentation/virt/kvm/api.rst KVM_GET_XSAVE2; SDM vol.1 §13.4 "XSAVE Area"
        """
        image = bytearray(size)
        checked_ioctl_buffer(self.fd, ioctls.GET_XSAVE2, image)
        return bytes(image)

    def get_xsave(self) -> bytes:
        """Return the first 4096 bytes of the uabi image (KVM_GET_XSAVE).

        :raises KernelCallError: EINVAL - this vCPU's image is larger than 4096 bytes
        """
        image = bytearray(4096)
        checked_ioctl_buffer(self.fd, ioctls.GET_XSAVE, image)
        return bytes(image)

    def set_xsave(self, image: bytes) -> None:
        """Load guest extended state from a uabi image (KVM_SET_XSAVE).

        :param image: standard format; at least as many bytes as this vCPU moves
        :raises KernelCallError: EINVAL - XSTATE_BV, XCOMP_BV, reserved bytes or MXCSR; EFAULT
        :order: after KVM_SET_CPUID2 when the image holds dynamic features
        :see: arch/x86/kernel/fpu/core.c: fpu_copy_uabi_to_guest_fpstate
        """
        checked_ioctl_buffer(self.fd, ioctls.SET_XSAVE, bytearray(image))

    def get_xcr0(self) -> int:
        """Return XCR0 (KVM_GET_XCRS)."""
        xcrs = bytearray(ioctls.GET_XCRS.size)
        checked_ioctl_buffer(self.fd, ioctls.GET_XCRS, xcrs)
        return int(struct.unpack_from("=Q", xcrs, 16)[0])

    def set_xcr0(self, value: int) -> None:
        """Set XCR0 (KVM_SET_XCRS).

        :raises KernelCallError: EINVAL - illegal, or not within the guest's CPUID
        :see: SDM vol.1 §13.3 "Enabling the XSAVE Feature Set"; arch/x86/kvm/x86.c: __kvm_set_xcr
        """
        xcrs = bytearray(ioctls.SET_XCRS.size)
        struct.pack_into("=IIIIQ", xcrs, 0, 1, 0, 0, 0, value)
        checked_ioctl_buffer(self.fd, ioctls.SET_XCRS, xcrs)

    def set_msrs(self, values: Mapping[int, int]) -> int:
        """Write MSRs in order; returns how many were accepted (KVM_SET_MSRS).

        The kernel stops at the first value it refuses, and does not call that an error.

        :raises KernelCallError: E2BIG - 256 entries or more; EFAULT
        """
        table = bytearray(struct.pack("=II", len(values), 0))
        for index, value in values.items():
            table += struct.pack("=IIQ", index, 0, value)
        return checked_ioctl_buffer(self.fd, ioctls.SET_MSRS, table)

    def get_msrs(self, indices: Sequence[int]) -> tuple[int, ...]:
        """Read MSRs in order, up to the first that the kernel refuses (KVM_GET_MSRS)."""
        table = bytearray(struct.pack("=II", len(indices), 0))
        for index in indices:
            table += struct.pack("=IIQ", index, 0, 0)
        count = checked_ioctl_buffer(self.fd, ioctls.GET_MSRS, table)
        return tuple(struct.unpack_from("=Q", table, 16 + 16 * i)[0] for i in range(count))

    def get_sregs(self) -> bytearray:
        """Return ``struct kvm_sregs`` (KVM_GET_SREGS)."""
        sregs = bytearray(ioctls.GET_SREGS.size)
        checked_ioctl_buffer(self.fd, ioctls.GET_SREGS, sregs)
        return sregs

    def set_sregs(self, sregs: bytearray) -> None:
        """Set ``struct kvm_sregs`` (KVM_SET_SREGS).

        :raises KernelCallError: EINVAL - a control register or EFER bit that is not allowed
        """
        checked_ioctl_buffer(self.fd, ioctls.SET_SREGS, sregs)

    def set_regs(self, *, rip: int, rsp: int) -> None:
        """Set RIP and RSP, RFLAGS to 2 and the other registers to 0 (KVM_SET_REGS)."""
        regs = struct.pack("=6Q2Q8Q2Q", 0, 0, 0, 0, 0, 0, rsp, 0, *[0] * 8, rip, 2)
        checked_ioctl_buffer(self.fd, ioctls.SET_REGS, bytearray(regs))

    def run(self, mode: RunMode) -> int:
        """Enter the guest (KVM_RUN); returns ``kvm_run.exit_reason``.

        Loads the guest FPU even with IMMEDIATE_EXIT: with XSTATE_BV & XFD != 0 that kills the host.

        :raises KernelCallError: EINTR - immediate exit, or a signal; EFAULT, EINVAL, EIO
        """
        checked(self.issue_run(mode), ioctls.RUN.name, ioctls.RUN.on.value)
        return self.exit_reason

    def issue_run(self, immediate_exit: int) -> int:
        """Issue KVM_RUN; returns 0 or ``-errno``."""
        self._run[_IMMEDIATE_EXIT_OFFSET] = immediate_exit
        return call(self.fd, ioctls.RUN.number)

    @property
    def exit_reason(self) -> int:
        """``kvm_run.exit_reason`` of the last KVM_RUN."""
        return int(struct.unpack_from("=I", self._run, _EXIT_REASON_OFFSET)[0])

    def exit_details(self) -> ExitDetails:
        """Return what the run page says of a KVM_EXIT_IO or a KVM_EXIT_INTERNAL_ERROR."""
        (port,) = struct.unpack_from("=H", self._run, _IO_PORT_OFFSET)
        (offset,) = struct.unpack_from("=Q", self._run, _IO_DATA_OFFSET)
        (suberror,) = struct.unpack_from("=I", self._run, _SUBERROR_OFFSET)
        return ExitDetails(port, self._run[offset] if offset < len(self._run) else 0, suberror)
