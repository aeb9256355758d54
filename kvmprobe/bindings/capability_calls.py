"""Enabling capabilities of a VM or of a vCPU."""

from __future__ import annotations

import struct

from kvmprobe.abi import ioctls
from kvmprobe.bindings.fd import KvmFd

_ARGUMENTS = 4


class CapabilityCalls(KvmFd):
    """A descriptor whose capabilities can be switched on."""

    def enable_cap(self, capability: int, *arguments: int) -> None:
        """Switch a capability on (KVM_ENABLE_CAP).

        :param capability: a :class:`Capability`, or a newer number
        :param arguments: four at most, 64 bits each; what they mean depends on the capability
        :raises KernelCallError: EINVAL - not a capability that can be enabled here, or not with
            these arguments; EEXIST - the VM has what it would create
        :capability: KVM_CAP_ENABLE_CAP, KVM_CAP_ENABLE_CAP_VM
        :see: Documentation/virt/kvm/api.rst KVM_ENABLE_CAP and sections 6 and 7;
            arch/x86/kvm/x86.c: kvm_vm_ioctl_enable_cap, kvm_vcpu_ioctl_enable_cap
        """
        padded = arguments + (0,) * (_ARGUMENTS - len(arguments))
        self._set(ioctls.ENABLE_CAP, struct.pack("=II4Q64x", capability, 0, *padded))
