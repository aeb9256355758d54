"""Events of a vCPU, its local APIC, its run state, nested state, and debugging."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.abi import ioctls
from kvmprobe.bindings.events import MpState, VcpuEvents
from kvmprobe.bindings.fd import KvmFd
from kvmprobe.bindings.packing import pack
from kvmprobe.errors import LayoutError

if TYPE_CHECKING:
    from kvmprobe.abi.ioctls import DebugControl

_NESTED = ioctls.KVM_NESTED_STATE


class EventCalls(KvmFd):
    """Events, local APIC, run state and nested state of a vCPU.

    :ivar nested_size: size of the nested state by KVM_CAP_NESTED_STATE, bytes; 0 if there is none
    """

    nested_size: int

    def get_vcpu_events(self) -> VcpuEvents:
        """Return pending and injected events (KVM_GET_VCPU_EVENTS).

        :capability: KVM_CAP_VCPU_EVENTS
        :see: Documentation/virt/kvm/api.rst KVM_GET_VCPU_EVENTS;
            arch/x86/kvm/x86.c: kvm_vcpu_ioctl_x86_get_vcpu_events
        """
        return VcpuEvents.from_bytes(self._get(ioctls.GET_VCPU_EVENTS))

    def set_vcpu_events(self, events: VcpuEvents) -> None:
        """Set pending and injected events (KVM_SET_VCPU_EVENTS).

        :raises KernelCallError: EINVAL - an unknown flag, no such exception, or injected and
            pending at once
        :capability: KVM_CAP_VCPU_EVENTS
        :see: Documentation/virt/kvm/api.rst KVM_SET_VCPU_EVENTS;
            arch/x86/kvm/x86.c: kvm_vcpu_ioctl_x86_set_vcpu_events
        """
        self._set(ioctls.SET_VCPU_EVENTS, events.to_bytes())

    def get_mp_state(self) -> MpState:
        """Return whether the vCPU runs, is halted or waits to be started (KVM_GET_MP_STATE).

        On a host with MPX it loads the guest's extended state: see :mod:`vcpu_xstate`'s hazard.

        :capability: KVM_CAP_MP_STATE
        :see: Documentation/virt/kvm/api.rst KVM_GET_MP_STATE;
            arch/x86/kvm/x86.c: kvm_arch_vcpu_ioctl_get_mpstate
        """
        return MpState(int.from_bytes(self._get(ioctls.GET_MP_STATE), "little"))

    def set_mp_state(self, state: MpState) -> None:
        """Set whether the vCPU runs, is halted or waits to be started (KVM_SET_MP_STATE).

        :raises KernelCallError: EINVAL - no such state, or not without an interrupt controller in
            the kernel
        :capability: KVM_CAP_MP_STATE
        :see: Documentation/virt/kvm/api.rst KVM_SET_MP_STATE;
            arch/x86/kvm/x86.c: kvm_arch_vcpu_ioctl_set_mpstate
        """
        self._set_members(ioctls.SET_MP_STATE, mp_state=state)

    def get_lapic(self) -> bytes:
        """Return the local APIC's register page, its first 1024 bytes (KVM_GET_LAPIC).

        :raises KernelCallError: EINVAL - the VM has no interrupt controller in the kernel
        :capability: KVM_CAP_IRQCHIP
        :see: Documentation/virt/kvm/api.rst KVM_GET_LAPIC;
            arch/x86/kvm/x86.c: kvm_vcpu_ioctl_get_lapic
        """
        return self._get(ioctls.GET_LAPIC)

    def set_lapic(self, registers: bytes) -> None:
        """Set the local APIC's registers (KVM_SET_LAPIC).

        :param registers: 1024 bytes
        :raises LayoutError: not 1024 bytes
        :raises KernelCallError: EINVAL - the VM has no interrupt controller in the kernel, or
            a wrong APIC id
        :capability: KVM_CAP_IRQCHIP
        :see: Documentation/virt/kvm/api.rst KVM_SET_LAPIC;
            arch/x86/kvm/x86.c: kvm_vcpu_ioctl_set_lapic
        """
        if len(registers) != ioctls.SET_LAPIC.size:
            raise LayoutError(f"APIC registers: 1024 bytes, not {len(registers)}")
        self._set(ioctls.SET_LAPIC, registers)

    def interrupt(self, vector: int) -> None:
        """Queue an external interrupt, if user space has the controller (KVM_INTERRUPT).

        :raises KernelCallError: EINVAL - a vector beyond 255; ENXIO - the VM has an interrupt
            controller in the kernel; EEXIST - an interrupt is pending
        :see: Documentation/virt/kvm/api.rst KVM_INTERRUPT;
            arch/x86/kvm/x86.c: kvm_vcpu_ioctl_interrupt
        """
        self._set_members(ioctls.INTERRUPT, irq=vector)

    def nmi(self) -> None:
        """Queue an NMI (KVM_NMI).

        :capability: KVM_CAP_USER_NMI
        :see: Documentation/virt/kvm/api.rst KVM_NMI; arch/x86/kvm/x86.c: kvm_vcpu_ioctl_nmi
        """
        self._issue(ioctls.NMI)

    def set_guest_debug(self, control: DebugControl, debugreg: tuple[int, ...] = (0,) * 8) -> None:
        """Make breakpoints or single steps end KVM_RUN with a DebugExit (KVM_SET_GUEST_DEBUG).

        :param debugreg: DR0 to DR7, in effect with DebugControl.USE_HW_BP
        :raises KernelCallError: EBUSY - an exception is pending
        :capability: KVM_CAP_SET_GUEST_DEBUG
        :see: Documentation/virt/kvm/api.rst KVM_SET_GUEST_DEBUG;
            arch/x86/kvm/x86.c: kvm_arch_vcpu_ioctl_set_guest_debug
        """
        self._set_members(ioctls.SET_GUEST_DEBUG, control=control, arch={"debugreg": debugreg})

    def get_nested_state(self) -> bytes:
        """Return the state of nested virtualization (KVM_GET_NESTED_STATE).

        :returns: ``struct kvm_nested_state``: a header of 128 bytes, and the data that it describes
        :raises KernelCallError: EINVAL - KVM has no nested virtualization;
            E2BIG - larger than the size of KVM_CAP_NESTED_STATE
        :capability: KVM_CAP_NESTED_STATE
        :see: Documentation/virt/kvm/api.rst KVM_GET_NESTED_STATE;
            arch/x86/kvm/vmx/nested.c: vmx_get_nested_state
        """
        room = max(self.nested_size, _NESTED.size)
        state = bytearray(pack(_NESTED, {"size": room}).ljust(room, b"\0"))
        self._move(ioctls.GET_NESTED_STATE, state)
        return bytes(state[: _nested_size(state)])

    def set_nested_state(self, state: bytes) -> None:
        """Set the state of nested virtualization (KVM_SET_NESTED_STATE).

        :param state: as :meth:`get_nested_state` returns it
        :raises LayoutError: shorter than its header, or than the size in it
        :raises KernelCallError: EINVAL - not legal, or not with this guest's CPUID, or no nested
            virtualization
        :capability: KVM_CAP_NESTED_STATE
        :order: after KVM_SET_CPUID2, KVM_SET_SREGS and KVM_SET_MSRS
        :see: Documentation/virt/kvm/api.rst KVM_SET_NESTED_STATE;
            arch/x86/kvm/vmx/nested.c: vmx_set_nested_state
        """
        stated = _nested_size(state) if len(state) >= _NESTED.size else 0
        least = max(stated, _NESTED.size)
        if len(state) < least:
            raise LayoutError(f"nested state takes {least} bytes, not {len(state)}")
        self._set(ioctls.SET_NESTED_STATE, state)


def _nested_size(state: bytes | bytearray) -> int:
    size: int = _NESTED.packed.unpack_from(state)[2]
    return size
