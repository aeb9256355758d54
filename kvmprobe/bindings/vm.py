"""A VM descriptor."""

from __future__ import annotations

from kvmprobe.abi import ioctls
from kvmprobe.abi.capabilities import Capability
from kvmprobe.bindings.capability_calls import CapabilityCalls
from kvmprobe.bindings.vcpu import VcpuFd
from kvmprobe.bindings.vm_devices import DeviceCalls
from kvmprobe.bindings.vm_memory import MemoryCalls


class VmFd(MemoryCalls, DeviceCalls, CapabilityCalls):
    """One VM, created by :meth:`Kvm.create_vm`.

    :ivar run_size: bytes of a vCPU's run area
    """

    _target = ioctls.Descriptor.VM.value

    def __init__(self, fd: int, run_size: int) -> None:
        super().__init__(fd)
        self.run_size = run_size

    def create_vcpu(self, vcpu_id: int) -> VcpuFd:
        """Create a vCPU (KVM_CREATE_VCPU); this freezes the calling process's guest permission.

        :param vcpu_id: below KVM_CAP_MAX_VCPU_ID; its APIC id
        :raises KernelCallError: EEXIST - the id is taken; EINVAL - the id is out of range, or the
            VM is full; EMFILE - the process has no free descriptor
        :order: after :func:`request_guest_permission` and :meth:`create_irqchip`
        :see: Documentation/virt/kvm/api.rst KVM_CREATE_VCPU; Documentation/arch/x86/xstate.rst;
            virt/kvm/kvm_main.c: kvm_vm_ioctl_create_vcpu;
            arch/x86/kernel/fpu/core.c: fpu_alloc_guest_fpstate
        """
        return VcpuFd(self._issue(ioctls.CREATE_VCPU, vcpu_id), self)

    def check_extension(self, capability: int) -> int:
        """Return the value of a capability on this VM; 0 if it is absent (KVM_CHECK_EXTENSION).

        :param capability: a :class:`Capability`, or a newer number
        :capability: KVM_CAP_CHECK_EXTENSION_VM
        :see: Documentation/virt/kvm/api.rst KVM_CHECK_EXTENSION
        """
        return self._issue(ioctls.CHECK_EXTENSION, capability)

    def xsave_size(self) -> int:
        """Return the size of the uabi image of a vCPU of this VM, bytes (KVM_CAP_XSAVE2).

        It grows with the guest permission, which the first vCPU freezes.

        :see: Documentation/virt/kvm/api.rst KVM_GET_XSAVE2
        """
        return max(self.check_extension(Capability.XSAVE2), ioctls.GET_XSAVE.size)

    def nested_size(self) -> int:
        """Return the largest size of a vCPU's nested state, bytes (KVM_CAP_NESTED_STATE).

        :see: Documentation/virt/kvm/api.rst KVM_GET_NESTED_STATE
        """
        return self.check_extension(Capability.NESTED_STATE)
