"""A guest that executes one instruction: KVM_RUN, the payload's command in it, and its result.

Each entry loads the guest's fpstate into the registers (XRSTORS) and each exit to user space saves
it (XSAVES), so that what an instruction leaves in a register is what the ioctls show.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from kvmprobe.abi.numbers import U32_MAX, KvmExit
from kvmprobe.abi.payload import EXITED, NO_EXCEPTION, RESULT_SIZE, VMX_FAILED, Registers
from kvmprobe.errors import ModelBug
from kvmprobe.model import avx_left, cet, shadow_stack
from kvmprobe.model.control import EFER_LMA, EFER_LME, Cr0, Cr4
from kvmprobe.model.doubt import judged
from kvmprobe.model.entry import Entry, entry, require_payload
from kvmprobe.model.fpstate import (
    cycle_fpu,
    guest_mxcsr,
    host_dies,
    in_standard_format,
    loaded,
    with_user_components,
)
from kvmprobe.model.freedom import Freedom
from kvmprobe.model.init_signal import taken
from kvmprobe.model.outcome import Done, ExpectedBytes, OneOf, Step, Unspecified
from kvmprobe.model.rule import KernelFile, KernelSource, ManualSource, Rule
from kvmprobe.model.x87 import kept
from kvmprobe.xstate.cpuid import halves
from kvmprobe.xstate.features import XFeature, bitmap_of, numbers
from kvmprobe.xstate.image import (
    FP_INIT,
    MXCSR_INIT,
    init_content,
    init_contents,
    is_init,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kvmprobe.model.host import HostProfile
    from kvmprobe.model.machine import GuestCpuid, Machine, Vcpu

VECTOR_FIELD = "vector"
NO_BITS = Registers()
# What the payload has written to the control registers before its first command.
PAYLOAD_CR0 = 0x8001_0033
PAYLOAD_CR4 = 0x620
PAYLOAD_EFER = EFER_LME | EFER_LMA


class Vector(IntEnum):
    """Exceptions (SDM vol.3 §6.15 "Exception and Interrupt Reference")."""

    UD = 6
    NM = 7
    GP = 13
    PF = 14
    CP = 21


class ExitReason(IntEnum):
    """Why a nested guest exits to L1 (SDM vol.3 appendix C "VMX Basic Exit Reasons")."""

    EXCEPTION = 0
    CPUID = 10
    VMCALL = 18
    XSETBV = 55


_NO_VECTORS = {NO_EXCEPTION: "none", EXITED: "exit to L1", VMX_FAILED: "VMX failed"}


def vector_name(vector: int) -> str:
    """Return ``#NM`` for 7, ``none`` where there was no exception.

    :see: SDM vol.3 §6.15 "Exception and Interrupt Reference"
    """
    if vector in _NO_VECTORS:
        return _NO_VECTORS[vector]
    return f"#{Vector(vector).name}" if vector in set(Vector) else str(vector)


class Fault(Exception):
    """The instruction raises an exception, and has changed nothing but IA32_XFD_ERR.

    :ivar xfd_err: components that IA32_XFD disables; None if that is not the cause
    :ivar before: the guest before the instruction, if others of the command have changed it
    """

    def __init__(self, vector: Vector, xfd_err: int | None = None, error_code: int = 0) -> None:
        super().__init__(vector.name)
        self.vector, self.xfd_err, self.error_code = vector, xfd_err, error_code
        self.before: Guest | None = None

    def after(self, before: Guest) -> Fault:
        """Return the exception of an instruction that is not the command's first."""
        self.before = before
        return self


class ExitToL1(Exception):
    """The instruction of a nested guest exits to L1, and has changed nothing.

    :ivar reason: the exit reason, of an exception with its vector in bits 23:16
    """

    def __init__(self, reason: int) -> None:
        super().__init__(hex(reason))
        self.reason = reason


class Guest(NamedTuple):
    """A vCPU in its guest, with its fpstate in the registers.

    :ivar state: content of every component but PKRU and CET, which are in ``vcpu``
    :ivar mxcsr: the register; the vCPU's is the one in its fpstate
    :ivar open_registers: bits that are legal either way
    :ivar memory: what the instruction must leave in the payload's data area
    :ivar unspecified: what in ``memory`` is legal either way
    :ivar alternatives: the data area, in place of ``memory``, if several contents are legal
    """

    host: HostProfile
    vcpu: Vcpu
    state: Mapping[int, bytes]
    mxcsr: int
    registers: Registers
    open_registers: Registers = NO_BITS
    memory: bytes = b""
    unspecified: tuple[Unspecified, ...] = ()
    alternatives: tuple[ExpectedBytes, ...] = ()

    def with_vcpu(self, vcpu: Vcpu) -> Guest:
        """Return this guest with its vCPU replaced."""
        return self._replace(vcpu=vcpu)

    def with_state(self, changes: Mapping[int, bytes], mxcsr: int | None = None) -> Guest:
        """Return this guest with some components changed."""
        known = {nr: content for nr, content in changes.items() if nr in self.state}
        state = {**self.state, **known}
        return self._replace(state=state, mxcsr=self.mxcsr if mxcsr is None else mxcsr)

    def with_eax_edx(self, value: int, open_bits: int = 0) -> Guest:
        """Return this guest with a value in EDX:EAX; the upper halves become zero."""
        (low, high), (open_low, open_high) = halves(value), halves(open_bits)
        return self._replace(
            registers=self.registers._replace(rax=low, rdx=high),
            open_registers=self.open_registers._replace(rax=open_low, rdx=open_high),
        )

    @property
    def edx_eax(self) -> int:
        """The value in EDX:EAX; the upper halves of RDX and RAX are zero."""
        return self.registers.rdx << 32 | self.registers.rax

    @property
    def ecx(self) -> int:
        """The value in ECX."""
        return self.registers.rcx & U32_MAX

    @property
    def held(self) -> int:
        """Components, without PKRU, whose content is not INIT."""
        layout = self.host.layout
        return bitmap_of(nr for nr, held in self.state.items() if not is_init(nr, held, layout))

    @property
    def in_use(self) -> int:
        """Components that are certainly in use; a processor may track more of them so.

        :see: SDM vol.1 §13.6 "Processor Tracking of XSAVE-Managed State"
        """
        pkru = XFeature.PKRU.bit if self.vcpu.pkru else 0
        supervisor = sum(nr.bit for nr in cet.COMPONENTS if any(cet.content(self.vcpu, nr)))
        # Freedom.X87_BY_POINTERS: pointers that are not certain may or may not make it in use.
        x87 = kept(self.host, self.content(XFeature.FP)) == FP_INIT
        return self.held & ~(XFeature.FP.bit if x87 else 0) | pkru | supervisor

    def content(self, nr: int) -> bytes:
        """Return a component's bytes; those of PKRU and CET are in the vCPU's registers."""
        if nr == XFeature.PKRU:
            return struct.pack("=II", self.vcpu.pkru, 0)
        if nr in cet.COMPONENTS:
            return cet.content(self.vcpu, nr)
        return self.state.get(nr, init_content(nr, self.host.layout))

    def require(self, *conditions: tuple[bool | int, Vector]) -> None:
        """Raise the exception of the first condition that does not hold."""
        for holds, vector in conditions:
            if not holds:
                raise Fault(vector)

    def exit_from_l2(self, reason: ExitReason) -> None:
        """Exit to L1 if this is a nested guest."""
        if self.vcpu.in_l2:
            raise ExitToL1(reason)

    @property
    def cpuid(self) -> GuestCpuid:
        """The guest's table; long mode needs one."""
        table = self.vcpu.cpuid
        if table is None:
            raise ModelBug("a guest in long mode without a CPUID table")
        return table

    @property
    def cr4_osxsave(self) -> int:
        """CR4.OSXSAVE."""
        return self.vcpu.cr4 & Cr4.OSXSAVE.bit

    @property
    def cr0_ts_clear(self) -> bool:
        """Whether CR0.TS is clear."""
        return not self.vcpu.cr0 & Cr0.TS


def instruction_rule(statement: str, mnemonic: str, invariant: str = "INV-36") -> Rule:
    """Return the rule of an instruction that KVM does not intercept.

    :param mnemonic: the section of the SDM's volume 2
    :see: arch/x86/kernel/fpu/core.c: fpu_swap_kvm_fpstate, which gives it the guest's registers
    """
    return Rule(
        statement,
        (invariant,),
        (
            ManualSource(2, mnemonic),
            KernelSource(KernelFile.FPU_CORE, "fpu_swap_kvm_fpstate"),
        ),
    )


def disabled(components: int) -> NoReturn:
    """Raise #NM because IA32_XFD disables these components.

    :see: SDM vol.1 §13.14 "Extended Feature Disable (XFD)"
    """
    raise Fault(Vector.NM, xfd_err=components)


def execute(
    machine: Machine,
    vcpu_name: str,
    given: Registers,
    instruction: Callable[[Guest], Guest],
    rule: Rule,
) -> Step:
    """KVM_RUN until the payload has executed one instruction and returned its result.

    :see: arch/x86/kvm/x86.c: kvm_arch_vcpu_ioctl_run, kvm_load_guest_fpu, kvm_put_guest_fpu
    """
    vcpu = taken(machine.vcpu(vcpu_name))._replace(caller=machine.registers)
    dies = host_dies(vcpu.fpstate)
    if dies:
        return Step(machine, dies, rule)
    require_payload(machine.host, vcpu)
    if entry(machine.host, vcpu) is Entry.FAILS:
        failed = vcpu._replace(
            fpstate=cycle_fpu(machine.host, vcpu.fpstate), ran=True, entered=True
        )
        return Step(machine.with_vcpu(vcpu_name, failed), Done(KvmExit.FAIL_ENTRY), rule)
    guest = entered(machine.host, vcpu, given)
    shadow_stack.require_tracker_idle(guest.vcpu)
    vector, error_code = NO_EXCEPTION, 0
    try:
        guest = instruction(guest)
    except Fault as fault:
        vector, error_code = fault.vector, fault.error_code
        guest = fault.before or guest
        if fault.xfd_err is not None:
            guest = guest.with_vcpu(_with_xfd_err(guest.vcpu, fault.xfd_err))
        if guest.vcpu.in_l2 and guest.vcpu.l2_exceptions >> vector & 1:
            vector, error_code = EXITED, ExitReason.EXCEPTION | vector << 16
            guest = guest.with_vcpu(guest.vcpu._replace(in_l2=False))
        else:
            guest = guest.with_vcpu(shadow_stack.after_exception(guest.vcpu))
    except ExitToL1 as left_l2:
        vector, error_code = EXITED, left_l2.reason
        guest = guest.with_vcpu(guest.vcpu._replace(in_l2=False))
    shadow_stack.require_tracker_idle(guest.vcpu)
    after = machine.with_vcpu(vcpu_name, left(vcpu, guest))
    step = Step(after, _told(guest, vector, error_code), rule)
    in_doubt = avx_left.may_show(machine.host, vcpu.fpstate)
    return judged(step, "KVM_RUN", str(Freedom.AVX_LEFT) if in_doubt else "")


def _with_xfd_err(vcpu: Vcpu, xfd_err: int) -> Vcpu:
    """Return the vCPU after #NM; where KVM does not intercept it, the MSR alone has the value.

    :see: arch/x86/kvm/vmx/vmx.c: handle_nm_fault_irqoff
    """
    if vcpu.nm_missed and not vcpu.in_l2:
        return vcpu._replace(xfd_err_left=xfd_err)
    return vcpu._replace(xfd_err=xfd_err)


def entered(host: HostProfile, vcpu: Vcpu, given: Registers) -> Guest:
    """Load the fpstate; a vCPU that comes from its reset first runs the payload's start.

    XRSTORS loads MXCSR only with SSE state, XRSTOR of the standard format in any case.

    :see: arch/x86/kernel/fpu/core.c: fpu_swap_kvm_fpstate, restore_fpregs_from_fpstate;
        SDM vol.1 §13.8.2 "Compacted Form of XRSTOR"
    """
    if not vcpu.in_payload:
        vcpu = vcpu._replace(cr0=PAYLOAD_CR0, cr4=PAYLOAD_CR4, efer=PAYLOAD_EFER, in_payload=True)
    fpstate = vcpu.fpstate
    initial = init_contents(fpstate.user_xfeatures & ~XFeature.PKRU.bit, host.layout)
    contents = {nr: held for nr, held in loaded(host, fpstate).items() if nr in initial}
    state = {**initial, **contents}
    return Guest(host, vcpu, state, guest_mxcsr(host, fpstate), given)


def left(before: Vcpu, guest: Guest) -> Vcpu:
    """Save the registers; a component with XFD[i]=1 is saved as INIT, and so lost.

    :see: arch/x86/kernel/fpu/core.c: fpu_swap_kvm_fpstate, save_fpregs_to_fpstate;
        SDM vol.1 §13.11 "Operation of XSAVES"
    """
    saved = guest.held
    if guest.mxcsr != MXCSR_INIT:
        saved |= XFeature.SSE.bit
    saved &= ~guest.vcpu.xfd
    contents = {nr: guest.state[nr] for nr in numbers(saved)}
    fpstate = with_user_components(guest.vcpu.fpstate, saved, contents)
    if saved & XFeature.SSE.bit or in_standard_format(guest.host):
        untouched = (guest.state[XFeature.SSE], guest.mxcsr) == (
            before.fpstate.contents.get(XFeature.SSE),
            before.fpstate.mxcsr,
        )
        mask = before.fpstate.mxcsr_mask if untouched else guest.host.mxcsr_mask
        fpstate = fpstate._replace(mxcsr=guest.mxcsr, mxcsr_mask=mask)
    fpstate = cycle_fpu(guest.host, avx_left.after_guest_code(guest.host, fpstate))
    # Only then KVM clears the MSR: arch/x86/kvm/x86.c: vcpu_enter_guest.
    xfd_err_left = 0 if guest.vcpu.xfd_err else guest.vcpu.xfd_err_left
    return guest.vcpu._replace(fpstate=fpstate, xfd_err_left=xfd_err_left, ran=True, entered=True)


def _told(guest: Guest, vector: int, error_code: int) -> Done | OneOf:
    vcpu = guest.vcpu
    fields = {VECTOR_FIELD: vector, "error_code": error_code, "rip": 0}
    fields |= guest.registers._asdict() | {"cr0": vcpu.cr0, "cr4": vcpu.cr4}
    if vector != NO_EXCEPTION:
        return Done(fields=fields)
    open_fields = {name: bits for name, bits in guest.open_registers._asdict().items() if bits}
    done = Done(
        fields=fields,
        open_fields=open_fields,
        freedom=Freedom.GUEST_XINUSE if open_fields else None,
    )
    if guest.alternatives:
        choices = tuple(done._replace(memory=memory) for memory in guest.alternatives)
        return OneOf(choices, Freedom.LEGACY_FOLLOWS_XINUSE)
    memory = ExpectedBytes(RESULT_SIZE, guest.memory, guest.unspecified)
    return done._replace(memory=memory if guest.memory else None)
