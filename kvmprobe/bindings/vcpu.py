"""A vCPU descriptor: the run loop, and all other calls by inheritance."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

from kvmprobe.abi import ioctls
from kvmprobe.bindings.capability_calls import CapabilityCalls
from kvmprobe.bindings.device_attributes import AttributeCalls
from kvmprobe.bindings.gateway import call, checked
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
    """One vCPU, created by :meth:`VmFd.create_vcpu`.

    Only the process that created it can use it; only one thread at a time may run it.
    """

    _target = ioctls.Descriptor.VCPU.value

    def __init__(self, fd: int, vm: VmFd) -> None:
        super().__init__(fd)
        # LIFETIME: the guest's memory, which the kernel refers to as long as the vCPU lives.
        self._vm = vm
        try:
            self.xsave_size = vm.xsave_size()
            self.nested_size = vm.nested_size()
            self._area = RunArea(fd, vm.run_size)
        except BaseException:
            super().close()
            raise

    def close(self) -> None:
        """Unmap the run area and close the descriptor; closing it twice is harmless."""
        self._area.close()
        super().close()

    def run(self, mode: RunMode = RunMode.REAL) -> Exit:
        """Enter the guest until it needs user space (KVM_RUN).

        Hazard: KVM_RUN loads the guest's extended state, even with IMMEDIATE_EXIT, and panics an
        unfixed host if XSTATE_BV & IA32_XFD is not 0: see :meth:`load_hazard`.

        :returns: why the guest stopped; if the guest waits for data, call :meth:`answer_read`
            before the next run.  A memory fault is an exit, too, although the kernel returns it
            with EFAULT or EHWPOISON.
        :raises KernelCallError: EINTR - immediate exit, or a signal came; EAGAIN - the vCPU waits
            for another one to start it; EFAULT - memory of a slot cannot be accessed;
            EINVAL - the run area requests what this kernel does not know
        :capability: KVM_CAP_IMMEDIATE_EXIT, for that mode
        :see: Documentation/virt/kvm/api.rst KVM_RUN;
            arch/x86/kvm/x86.c: kvm_arch_vcpu_ioctl_run
        """
        result = self._run() if mode == RunMode.REAL else self._run_immediate_exit()
        fault = self._area.memory_fault(result)
        if fault is not None:
            return fault
        checked(result, ioctls.RUN.name, self._target)
        return self._area.exit()

    def stop_runs(self, mode: RunMode = RunMode.IMMEDIATE_EXIT) -> None:
        """Make every :meth:`run` fail with EINTR until ``stop_runs(RunMode.REAL)`` is called.

        Call it in a signal handler, or in another thread before that thread signals the one that
        runs the vCPU (:func:`signal.pthread_kill`): the run ends even if the signal arrives before
        KVM_RUN.  ``run(RunMode.IMMEDIATE_EXIT)`` does not cancel it.

        :capability: KVM_CAP_IMMEDIATE_EXIT
        :see: Documentation/virt/kvm/api.rst "The kvm_run structure", immediate_exit
        """
        self._area.stop_runs(mode)

    @property
    def exit_reason(self) -> int:
        """``kvm_run.exit_reason`` of the last KVM_RUN, a KVM_EXIT_*."""
        return self._area.exit_reason

    def answer_read(self, content: bytes) -> None:
        """Supply the data that the guest reads after an IN, an MMIO read or RDMSR.

        The next run delivers it to the guest.

        :param content: as many bytes as the exit says, little-endian; 8 for an MSR
        :raises LayoutError: another number of bytes, or the guest does not wait for data
        :see: Documentation/virt/kvm/api.rst "The kvm_run structure"
        """
        self._area.answer_read(content)

    def refuse_msr(self) -> None:
        """Make the RDMSR or WRMSR of the last exit raise #GP in the guest at the next run.

        :raises LayoutError: the last exit was for another reason
        :see: Documentation/virt/kvm/api.rst KVM_EXIT_X86_RDMSR
        """
        self._area.refuse_msr()

    def _run(self) -> int:
        return call(self.fd, ioctls.RUN.number)

    def _run_immediate_exit(self) -> int:
        if self.closed:
            return self._run()
        self._area.set_immediate_exit(RunMode.IMMEDIATE_EXIT)
        try:
            return self._run()
        finally:
            self._area.end_immediate_exit()
