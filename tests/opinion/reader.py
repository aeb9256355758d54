"""The second model: follows the calls of a scenario and says what each must return.

It was written from the SDM, ``Documentation/virt/kvm/api.rst`` and
``Documentation/arch/x86/xstate.rst`` by a reader who had not read ``kvmprobe/model``.  It sees
lowered calls alone, and has no opinion of most.  What such a call may have changed is unknown then.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from kvmprobe.abi import ioctls
from kvmprobe.abi.ioctls import Descriptor
from kvmprobe.scenarios.calls import (
    MAIN,
    ArchPrctl,
    Call,
    Captured,
    Close,
    DuringRun,
    GoOnInChild,
    Immediate,
    Ioctl,
    Literal,
    LiteralAtPageEnd,
    Output,
    OutputAtPageEnd,
    OutputBehind,
    Relation,
    RunGuest,
    RunVcpu,
    SetAltStack,
    SleepingLiteral,
    Spawn,
)
from tests.opinion import guest_code, images, permissions, registers
from tests.opinion.answer import NONE, Opinion
from tests.opinion.state import Process, Vcpu

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kvmprobe.model.host import HostProfile
    from kvmprobe.results.trace import Reply

_XSAVES = 1 << 3
_READS = {spec.number for spec in ioctls.ALL if "_GET_" in spec.name}
_LEAVE_XSTATE = {
    spec.number
    for spec in (
        ioctls.SET_REGS,
        ioctls.SET_SREGS,
        ioctls.SET_SREGS2,
        ioctls.SET_DEBUGREGS,
        ioctls.SET_LAPIC,
    )
}
_SETS: Mapping[int, Callable[[Vcpu, HostProfile, bytes | None], Opinion]] = {
    ioctls.SET_XSAVE.number: images.set_xsave,
    ioctls.SET_XCRS.number: lambda vcpu, _, content: registers.set_xcrs(vcpu, content),
    ioctls.SET_MSRS.number: lambda vcpu, _, content: registers.set_msrs(vcpu, content),
}
_GETS: Mapping[int, Callable[[Vcpu, Output | OutputAtPageEnd, Reply], Opinion]] = {
    ioctls.GET_XSAVE.number: lambda vcpu, place, _: images.get_old_xsave(vcpu, place.size),
    ioctls.GET_XSAVE2.number: lambda vcpu, place, _: images.get_xsave(vcpu, place.size),
    ioctls.GET_XCRS.number: lambda vcpu, _, __: registers.get_xcrs(vcpu),
    ioctls.GET_MSRS.number: lambda vcpu, place, reply: registers.get_msrs(vcpu, place.head, reply),
}
_OF_A_VCPU = {spec.number for spec in ioctls.ALL if spec.on is Descriptor.VCPU}


class Reader:
    """The second model of one process and its vCPUs."""

    def __init__(self, host: HostProfile) -> None:
        self._host = host
        # Of each task that makes calls; threads share one.
        self._processes = {MAIN: Process.fresh(host)}
        self._vcpus: dict[str, Vcpu] = {}
        self._captured: dict[str, bytes] = {}
        # VMs and vCPUs of the process that makes the calls, and those of its parents.
        self._own: set[str] = set()
        self._parents: set[str] = set()
        # SDM vol.2 CPUID: leaf 0xD, subleaf 1, EAX bit 3.
        self._compacted = bool(host.cpu.at(0xD, 1).eax & _XSAVES)

    def read(self, call: Call, reply: Reply) -> Opinion:
        """Return what a call must have returned, and follow it.

        The reply says what this model does not know: whether a vCPU was created, what a captured
        output has, whether the guest could execute an instruction at all.
        """
        match call:
            case Spawn() | GoOnInChild():
                self._new_process(call)
            case ArchPrctl():
                return permissions.arch_prctl(self._processes[call.by], self._host, call)
            case SetAltStack():
                self._processes[call.by].own = None
            case Ioctl() if self._processes[call.by] is not self._process:
                self._forget_all()
            case Close() | DuringRun():
                # What the guest does while it waits for a call is not known.
                self._vcpus.pop(call.on, None)
            case Ioctl():
                opinion = NONE if call.on in self._parents else self._ioctl(call, reply)
                self._bind(call, reply)
                return opinion
            case RunVcpu() if call.on in self._vcpus:
                return guest_code.run_vcpu(self._vcpus[call.on], call, reply)
            case RunGuest() if call.on in self._vcpus:
                return guest_code.run_guest(self._vcpus[call.on], self._host, call, reply)
            case _:
                pass
        return NONE

    @property
    def _process(self) -> Process:
        return self._processes[MAIN]

    def _new_process(self, call: Spawn | GoOnInChild) -> None:
        """Permission is inherited by fork(2) and cleared by exec(3) (xstate.rst).

        VM and vCPU ioctls are for the process that created the VM (api.rst 2).
        """
        match call:
            case GoOnInChild():
                self._vcpus.clear()
                self._parents |= self._own
            case Spawn(name, Relation.THREAD):
                self._processes[name] = self._process
            case Spawn(name, Relation.EXEC):
                self._processes[name] = Process.fresh(self._host)
            case Spawn(name, _):
                self._processes[name] = replace(self._process)

    def _forget_all(self) -> None:
        """Another process may have changed any vCPU, and may have frozen its own permission."""
        self._vcpus.clear()
        for process in self._processes.values():
            if not process.frozen:
                process.frozen = None

    def _ioctl(self, call: Ioctl, reply: Reply) -> Opinion:
        match call.number, call.argument:
            case ioctls.CREATE_VCPU.number, _:
                self._create_vcpu(call, reply)
            case ioctls.CHECK_EXTENSION.number, Immediate(capability):
                return permissions.check_extension(self._process, self._host, capability)
            case ioctls.GET_SUPPORTED_CPUID.number, Output():
                return permissions.get_supported_cpuid(self._process, self._host, reply)
            case number, _ if number in _OF_A_VCPU and call.on in self._vcpus:
                return self._of_vcpu(self._vcpus[call.on], call, reply)
            case ioctls.ENABLE_CAP.number, _:
                self._forget_all()
            case _:
                pass
        return NONE

    def _create_vcpu(self, call: Ioctl, reply: Reply) -> None:
        """Freeze permission; a call that fails may do so or not."""
        if reply.result >= 0:
            self._process.frozen = True
            self._vcpus[call.binds] = Vcpu(self._host.layout, self._compacted)
        elif not self._process.frozen:
            self._process.frozen = None

    def _of_vcpu(self, vcpu: Vcpu, call: Ioctl, reply: Reply) -> Opinion:
        number, argument = call.number, call.argument
        if isinstance(argument, Immediate):
            return NONE  # no memory: nothing is read or written
        if number in _SETS:
            return _SETS[number](vcpu, self._host, self._content(argument))
        if number == ioctls.SET_CPUID2.number:
            table, refused = self._content(argument), reply.result < 0
            return permissions.set_cpuid2(self._process, vcpu, self._host, table, refused=refused)
        if number in _GETS and isinstance(argument, Output | OutputAtPageEnd):
            return _GETS[number](vcpu, argument, reply)
        if isinstance(argument, OutputBehind):
            registers.access_one(vcpu, argument.head, writes=number == ioctls.SET_ONE_REG.number)
        elif number == ioctls.SET_FPU.number:
            images.set_fpu(vcpu)
        elif number not in _READS | _LEAVE_XSTATE:
            del self._vcpus[call.on]
        return NONE

    def _content(self, argument: object) -> bytes | None:
        """Return the bytes that the kernel reads, None if they are not known."""
        match argument:
            case Literal(content) | LiteralAtPageEnd(content) | SleepingLiteral(content):
                return content
            case Captured(name, patches) if name in self._captured:
                changed = bytearray(self._captured[name])
                for at, content in patches:
                    changed[at : at + len(content)] = content
                return bytes(changed)
            case _:
                return None

    def _bind(self, call: Ioctl, reply: Reply) -> None:
        if call.binds and reply.result >= 0:
            self._own.add(call.binds)
            self._parents.discard(call.binds)
        match call.argument:
            case Output(capture=name) if name:
                if reply.output is None:
                    self._captured.pop(name, None)
                else:
                    self._captured[name] = reply.output
            case _:
                pass
