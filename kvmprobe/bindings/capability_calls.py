"""Enabling capabilities of a VM or of a vCPU."""

from __future__ import annotations

from kvmprobe.abi import ioctls
from kvmprobe.bindings.fd import KvmFd


class CapabilityCalls(KvmFd):
    """A descriptor on which capabilities can be enabled."""

    def enable_cap(self, capability: int, *arguments: int) -> None:
        """Enable a capability (KVM_ENABLE_CAP).

        :param capability: a :class:`Capability`, or the number of a newer one
        :param arguments: at most four, 64 bits each; their meaning depends on the capability
        :raises LayoutError: more than four arguments, or one that does not fit 64 bits
        :raises KernelCallError: EINVAL - not a capability that can be enabled here, or not with
            these arguments; EEXIST - the VM already has what it would create
        :capability: KVM_CAP_ENABLE_CAP, KVM_CAP_ENABLE_CAP_VM
        :see: Documentation/virt/kvm/api.rst KVM_ENABLE_CAP and sections 6 and 7;
            arch/x86/kvm/x86.c: kvm_vm_ioctl_enable_cap, kvm_vcpu_ioctl_enable_cap
        """
        self._set_members(ioctls.ENABLE_CAP, cap=capability, args=arguments)
