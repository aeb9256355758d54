"""A vCPU descriptor: running it, and all that can be asked of it."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

from kvmprobe.abi import ioctls
from kvmprobe.bindings.capability_calls import CapabilityCalls
from kvmprobe.bindings.device_attributes import AttributeCalls
from kvmprobe.bindings.run_area import RunArea
from kvmprobe.bindings.vcpu_events import EventCalls
from kvmprobe.bindings.vcpu_registers import RegisterCalls
from kvmprobe.bindings.vcpu_xstate import XstateCalls

if TYPE_CHECKING:
    from kvmprobe.bindings.exits import Exit
    from kvmprobe.bindings.vm import VmFd


class RunMode(IntEnum):
    """``kvm_run.immediate_exit``: whether KVM_RUN enters the guest."""

    REAL = 0
    IMMEDIATE_EXIT = 1


class VcpuFd(RegisterCalls, XstateCalls, EventCalls, AttributeCalls, CapabilityCalls):
    """One vCPU; :meth:`VmFd.create_vcpu` makes it.

    It belongs to the process that created it, and one thread at a time may run it.
    """

    _target = ioctls.Descriptor.VCPU.value

    def __init__(self, fd: int, vm: VmFd) -> None:
        super().__init__(fd)
        # LIFETIME: the guest's memory, which the kernel refers to as long as the vCPU lives.
        self._vm = vm
        try:
            self._area = RunArea(fd, vm.run_size)
        except OSError:
            super().close()
            raise
        self.xsave_size = vm.xsave_size()
        self.nested_size = vm.nested_size()

    def close(self) -> None:
        """Unmap the run area and close the descriptor; a second time does nothing."""
        self._area.close()
        super().close()

    def run(self, mode: RunMode = RunMode.REAL) -> Exit:
        """Enter the guest until it needs user space (KVM_RUN).

        Hazard: it loads the guest's extended state, even with IMMEDIATE_EXIT, and that panics an
        unfixed host if XSTATE_BV and IA32_XFD have a bit in common: :meth:`load_hazard`.

        :returns: why the guest stopped; an exit that reads is answered before the next run
        :raises KernelCallError: EINTR - immediate exit, or a signal came; EAGAIN - the vCPU waits
            to be started by another one; EFAULT - memory of a slot cannot be accessed;
            EINVAL - the run area asks for what this kernel does not know
        :capability: KVM_CAP_IMMEDIATE_EXIT, for that mode
        :see: Documentation/virt/kvm/api.rst KVM_RUN;
            arch/x86/kvm/x86.c: kvm_arch_vcpu_ioctl_run
        """
        if mode is RunMode.REAL:
            self._issue(ioctls.RUN)
        else:
            self._issue_immediate_exit()
        return self._area.exit()

    def stop_runs(self, mode: RunMode = RunMode.IMMEDIATE_EXIT) -> None:
        """Have every run end with EINTR, from now on until it is called with RunMode.REAL.

        For a signal handler, or for another thread before it signals the one that runs the vCPU
        (:func:`signal.pthread_kill`): the run ends even if the signal came before KVM_RUN.

        :capability: KVM_CAP_IMMEDIATE_EXIT
        :see: Documentation/virt/kvm/api.rst "The kvm_run structure", immediate_exit
        """
        self._area.set_immediate_exit(mode)

    @property
    def exit_reason(self) -> int:
        """``kvm_run.exit_reason`` of the last KVM_RUN, a KVM_EXIT_*."""
        return self._area.exit_reason

    def answer_read(self, content: bytes) -> None:
        """Tell what the guest reads in an IoExit (IN), MmioExit (READ) or MsrReadExit.

        It is as many bytes as the exit says, for an MSR 8; the next run hands them to the guest.

        :raises LayoutError: another number of bytes; after any other exit it is 0
        :see: Documentation/virt/kvm/api.rst "The kvm_run structure"
        """
        self._area.answer_read(content)

    def refuse_msr(self) -> None:
        """Have the RDMSR or WRMSR of the last exit end in #GP when the guest runs on.

        :raises LayoutError: the guest did not execute one
        :see: Documentation/virt/kvm/api.rst KVM_EXIT_X86_RDMSR
        """
        self._area.refuse_msr()

    def _issue_immediate_exit(self) -> None:
        if self.closed:
            self._issue(ioctls.RUN)
        self._area.set_immediate_exit(RunMode.IMMEDIATE_EXIT)
        try:
            self._issue(ioctls.RUN)
        finally:
            self._area.set_immediate_exit(RunMode.REAL)
