"""The /dev/kvm descriptor."""

from __future__ import annotations

import errno
import os
import struct
from typing import Self

from kvmprobe.abi import ioctls
from kvmprobe.abi.numbers import KVM_MAX_CPUID_ENTRIES, KVM_X86_XCOMP_GUEST_SUPP, KvmCap
from kvmprobe.bindings.gateway import (
    Pinned,
    call,
    call_buffer,
    checked,
    checked_ioctl,
    checked_ioctl_buffer,
)
from kvmprobe.bindings.vm import VmFd
from kvmprobe.errors import Unavailable, errno_name

DEVICE = "/dev/kvm"
API_VERSION = 12
CPUID_HEADER = struct.Struct("=II")
CPUID_ENTRY = struct.Struct("=7I12x")


class Kvm:
    """An open /dev/kvm.

    >>> with Kvm.open() as kvm:  # doctest: +SKIP
    ...     kvm.check_extension(KvmCap.XSAVE)
    1
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd

    @classmethod
    def open(cls, path: str = DEVICE) -> Self:
        """Open the device.

        :raises Unavailable: ``no_kvm`` - not there, or something else;
            ``no_kvm_permission`` - not for this user; ``old_kvm`` - another API version than 12
        """
        try:
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            raise _open_failed(path, error) from error
        version = call(fd, ioctls.GET_API_VERSION.number)
        if version == API_VERSION:
            return cls(fd)
        os.close(fd)
        if version < 0:
            came_back = f"KVM_GET_API_VERSION on {path}: {errno_name(-version)}"
            raise Unavailable("no_kvm", f"{came_back}; that is no KVM device")
        raise Unavailable("old_kvm", f"KVM_GET_API_VERSION on {path}: {version}, expected 12")

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self.fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def create_vm(self) -> VmFd:
        """Create a VM (KVM_CREATE_VM, type 0).

        :raises KernelCallError: ENOMEM; EMFILE - descriptors used up; EBUSY - the hardware is taken
        """
        return VmFd(checked_ioctl(self.fd, ioctls.CREATE_VM, 0), self.vcpu_mmap_size())

    def vcpu_mmap_size(self) -> int:
        """Return the size in bytes of a vCPU's run area (KVM_GET_VCPU_MMAP_SIZE)."""
        return checked_ioctl(self.fd, ioctls.GET_VCPU_MMAP_SIZE)

    def check_extension(self, cap: KvmCap) -> int:
        """Return what KVM_CHECK_EXTENSION says; 0 means absent.

        For KVM_CAP_XSAVE2 it is a size in bytes that depends on this process's guest permission.
        """
        return checked_ioctl(self.fd, ioctls.CHECK_EXTENSION, cap)

    def supported_cpuid(self) -> bytes:
        """Return ``struct kvm_cpuid2`` with all entries (KVM_GET_SUPPORTED_CPUID).

        The XTILE bits of leaf 0xD depend on this process's guest permission.

        :returns: 8 bytes of header, then 40 bytes an entry
        :raises KernelCallError: E2BIG - more than 256 entries
        :see: arch/x86/kvm/cpuid.c: kvm_dev_ioctl_get_cpuid
        """
        table = bytearray(CPUID_HEADER.size + KVM_MAX_CPUID_ENTRIES * CPUID_ENTRY.size)
        CPUID_HEADER.pack_into(table, 0, KVM_MAX_CPUID_ENTRIES, 0)
        checked_ioctl_buffer(self.fd, ioctls.GET_SUPPORTED_CPUID, table)
        nent, _ = CPUID_HEADER.unpack_from(table)
        return bytes(table[: CPUID_HEADER.size + nent * CPUID_ENTRY.size])

    def msr_indices(self) -> tuple[int, ...]:
        """Return the MSRs that KVM saves and restores (KVM_GET_MSR_INDEX_LIST).

        :raises KernelCallError: EFAULT - bad buffer
        """
        head = bytearray(4)
        result = call_buffer(self.fd, ioctls.GET_MSR_INDEX_LIST.number, head)
        if result not in {0, -errno.E2BIG}:
            checked(result, ioctls.GET_MSR_INDEX_LIST.name, DEVICE)
        (count,) = struct.unpack("=I", head)
        table = bytearray(4 + 4 * count)
        struct.pack_into("=I", table, 0, count)
        checked_ioctl_buffer(self.fd, ioctls.GET_MSR_INDEX_LIST, table)
        return struct.unpack_from(f"={count}I", table, 4)

    def xcomp_guest_supp(self) -> int:
        """Return the XSTATE components KVM can give guests, whatever the permission.

        :raises KernelCallError: ENXIO or EINVAL - the kernel is older than 5.17
        :see: Documentation/virt/kvm/api.rst KVM_GET_DEVICE_ATTR;
            arch/x86/kvm/x86.c: kvm_x86_dev_get_attr
        """
        bitmap = bytearray(8)
        target = Pinned(bitmap)
        attribute = struct.pack("=IIQQ", 0, 0, KVM_X86_XCOMP_GUEST_SUPP, target.address)
        checked_ioctl_buffer(self.fd, ioctls.GET_DEVICE_ATTR, bytearray(attribute))
        return int.from_bytes(bitmap, "little")


def _open_failed(path: str, error: OSError) -> Unavailable:
    number = error.errno or 0
    came_back = f"open {path}: {errno_name(number)}"
    match number:
        case errno.ENOENT | errno.ENXIO | errno.ENODEV:
            hint = "load kvm_intel or kvm_amd, or enable virtualization in the firmware"
            return Unavailable("no_kvm", f"{came_back}; {hint}")
        case errno.EACCES | errno.EPERM:
            hint = "run as root, or as a member of the device's group"
            return Unavailable("no_kvm_permission", f"{came_back}; {hint}")
        case _:
            return Unavailable("no_kvm", came_back)
