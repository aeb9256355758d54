"""The /dev/kvm descriptor."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Self

from kvmprobe.abi import ioctls
from kvmprobe.abi.numbers import KVM_X86_XCOMP_GUEST_SUPP
from kvmprobe.abi.tables import MSR_LIST
from kvmprobe.bindings.device_attributes import AttributeCalls
from kvmprobe.bindings.gateway import call, call_buffer, checked
from kvmprobe.bindings.tables import empty_cpuid, msr_table, msr_values, used_cpuid
from kvmprobe.bindings.vm import VmFd
from kvmprobe.errors import Unavailable, errno_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvmprobe.abi.ioctls import IoctlSpec

DEVICE = "/dev/kvm"
API_VERSION = 12


class Kvm(AttributeCalls):
    """An open /dev/kvm.

    >>> with Kvm.open() as kvm:
    ...     kvm.check_extension(Capability.XSAVE)
    1
    """

    _target = ioctls.Descriptor.KVM.value

    @classmethod
    def open(cls, path: str = DEVICE) -> Self:
        """Open the device.

        :raises Unavailable: ``no_kvm`` - the file does not exist or is no KVM device;
            ``no_kvm_permission`` - this user may not open it; ``old_kvm`` - the API version is not
            12
        :see: Documentation/virt/kvm/api.rst KVM_GET_API_VERSION
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
            raise Unavailable("no_kvm", f"{came_back}: not a KVM device")
        raise Unavailable("old_kvm", f"KVM_GET_API_VERSION on {path}: {version}, expected 12")

    def create_vm(self, vm_type: int = 0) -> VmFd:
        """Create a VM (KVM_CREATE_VM).

        :param vm_type: 0, or a bit number in the value of KVM_CAP_VM_TYPES
        :raises KernelCallError: EINVAL - no such type of VM; EBUSY - another hypervisor uses
            virtualization, or it is disabled; EMFILE - the process has no free descriptor
        :see: Documentation/virt/kvm/api.rst KVM_CREATE_VM;
            virt/kvm/kvm_main.c: kvm_dev_ioctl_create_vm
        """
        run_size = self.vcpu_mmap_size()
        return VmFd(self._issue(ioctls.CREATE_VM, vm_type), run_size)

    def vcpu_mmap_size(self) -> int:
        """Return the size of a vCPU's run area, bytes (KVM_GET_VCPU_MMAP_SIZE).

        :see: Documentation/virt/kvm/api.rst KVM_GET_VCPU_MMAP_SIZE
        """
        return self._issue(ioctls.GET_VCPU_MMAP_SIZE)

    def check_extension(self, capability: int) -> int:
        """Return the value of a capability; 0 if it is absent (KVM_CHECK_EXTENSION).

        For KVM_CAP_XSAVE2 it is a size in bytes that depends on this process's guest permission.

        :param capability: a :class:`Capability`, or a newer number
        :see: Documentation/virt/kvm/api.rst KVM_CHECK_EXTENSION;
            arch/x86/kvm/x86.c: kvm_vm_ioctl_check_extension
        """
        return self._issue(ioctls.CHECK_EXTENSION, capability)

    def supported_cpuid(self) -> bytes:
        """Return the CPUID features that KVM supports for guests (KVM_GET_SUPPORTED_CPUID).

        The XTILE bits of leaf 0xD depend on this process's guest permission.

        :returns: ``struct kvm_cpuid2``: 8 bytes of header, 40 bytes an entry
        :raises KernelCallError: E2BIG - more entries than there is room for
        :see: Documentation/virt/kvm/api.rst KVM_GET_SUPPORTED_CPUID;
            arch/x86/kvm/cpuid.c: kvm_dev_ioctl_get_cpuid
        """
        table = empty_cpuid()
        self._move(ioctls.GET_SUPPORTED_CPUID, table)
        return used_cpuid(table)

    def emulated_cpuid(self) -> bytes:
        """Return features that KVM emulates and the CPU lacks (KVM_GET_EMULATED_CPUID).

        :returns: ``struct kvm_cpuid2``: 8 bytes of header, 40 bytes an entry
        :raises KernelCallError: E2BIG - more entries than there is room for
        :capability: KVM_CAP_EXT_EMUL_CPUID
        :see: Documentation/virt/kvm/api.rst KVM_GET_EMULATED_CPUID;
            arch/x86/kvm/cpuid.c: kvm_dev_ioctl_get_cpuid
        """
        table = empty_cpuid()
        self._move(ioctls.GET_EMULATED_CPUID, table)
        return used_cpuid(table)

    def msr_indices(self) -> tuple[int, ...]:
        """Return the MSRs that KVM saves and restores (KVM_GET_MSR_INDEX_LIST).

        :see: Documentation/virt/kvm/api.rst KVM_GET_MSR_INDEX_LIST;
            arch/x86/kvm/x86.c: kvm_arch_dev_ioctl
        """
        return self._index_list(ioctls.GET_MSR_INDEX_LIST)

    def feature_msr_indices(self) -> tuple[int, ...]:
        """Return the MSRs that enumerate features (KVM_GET_MSR_FEATURE_INDEX_LIST).

        :capability: KVM_CAP_GET_MSR_FEATURES
        :see: Documentation/virt/kvm/api.rst KVM_GET_MSR_FEATURE_INDEX_LIST;
            arch/x86/kvm/x86.c: kvm_arch_dev_ioctl
        """
        return self._index_list(ioctls.GET_MSR_FEATURE_INDEX_LIST)

    def feature_msrs(self, indices: Sequence[int]) -> tuple[int, ...]:
        """Read feature MSRs in order, up to the first that KVM refuses (KVM_GET_MSRS).

        :raises KernelCallError: E2BIG - 256 entries or more
        :capability: KVM_CAP_GET_MSR_FEATURES
        :see: Documentation/virt/kvm/api.rst KVM_GET_MSRS; arch/x86/kvm/x86.c: do_get_feature_msr
        """
        table = msr_table((index, 0) for index in indices)
        return msr_values(table, self._move(ioctls.GET_MSRS, table))

    def xcomp_guest_supp(self) -> int:
        """Return the bitmap of components that KVM supports for guests, with or without permission.

        It is :meth:`get_device_attr` of KVM_X86_XCOMP_GUEST_SUPP, available since Linux 5.17.

        :see: Documentation/virt/kvm/api.rst KVM_GET_DEVICE_ATTR;
            arch/x86/kvm/x86.c: kvm_x86_dev_get_attr
        """
        return int.from_bytes(self.get_device_attr(0, KVM_X86_XCOMP_GUEST_SUPP), "little")

    def _index_list(self, spec: IoctlSpec) -> tuple[int, ...]:
        head = bytearray(MSR_LIST.offset(0))
        result = call_buffer(self.fd, spec.number, head)
        if result not in {0, -errno.E2BIG}:
            checked(result, spec.name, self._target)
        table = bytearray(MSR_LIST.with_room(MSR_LIST.count(head)))
        self._move(spec, table)
        return tuple(index for (index,) in MSR_LIST.entries(table, MSR_LIST.count(head)))


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
