"""Guest instructions with operands in registers; and LDMXCSR.

Each is data: the payload's command, the model, and the register of each field.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from kvmprobe.abi.ioctls import Descriptor
from kvmprobe.abi.numbers import U32_MAX, Msr, msr_name
from kvmprobe.abi.payload import PayloadOp, Registers
from kvmprobe.model import cet, guest_control, guest_msr, guest_vector
from kvmprobe.scenarios.calls import VCPU
from kvmprobe.scenarios.op_fields import U32, U64, Name
from kvmprobe.scenarios.ops._base import op
from kvmprobe.scenarios.ops.guest import Execution, FixedGuestOp
from kvmprobe.scenarios.ops.msrs import NOT_AN_MSR
from kvmprobe.xstate.cpuid import halves

if TYPE_CHECKING:
    from kvmprobe.model.machine import Machine
    from kvmprobe.scenarios.ops.guest import Instruction

_ON = Descriptor.VCPU
_GUEST_MSRS = {Msr.IA32_XFD, Msr.IA32_XFD_ERR, Msr.IA32_XSS, NOT_AN_MSR, *cet.MSRS}


@dataclass(frozen=True, slots=True)
class RegisterForm:
    """An instruction with operands in registers; each names a field of the op.

    :ivar shown: mnemonic with the fields in braces, ``{msr}`` being the name of ``index``
    :ivar wide: the field in EDX:EAX
    """

    code: PayloadOp
    model: Instruction
    shown: str
    rax: str = ""
    rcx: str = ""
    rdx: str = ""
    wide: str = ""


class _RegisterOp(FixedGuestOp):
    form: ClassVar[RegisterForm]

    def executes_as(self) -> Execution:
        form = self.form
        rax, rcx, rdx = (getattr(self, name, 0) for name in (form.rax, form.rcx, form.rdx))
        if form.wide:
            rax, rdx = halves(getattr(self, form.wide))
        return Execution(form.code, form.model, Registers(rax=rax, rcx=rcx, rdx=rdx))

    @property
    def mnemonic(self) -> str:
        values = {f.name: getattr(self, f.name) for f in fields(self)}  # type: ignore[arg-type]
        return self.form.shown.format(**values, msr=msr_name(values.get("index", 0)))


class _NotInL2(_RegisterOp):
    @property
    def known_in_l2(self) -> bool:
        return False


@op("guest-xgetbv", "KVM_RUN", guest_control.XGETBV, on=_ON, operand="XGETBV")
class GuestXgetbv(_RegisterOp):
    """Read XCR0, or the part of it that is in use."""

    index: U64 = 0
    vcpu: Name = VCPU
    form = RegisterForm(PayloadOp.XGETBV, guest_control.xgetbv, "XGETBV({index})", rcx="index")


@op("guest-xsetbv", "KVM_RUN", guest_control.XSETBV, on=_ON, operand="XSETBV")
class GuestXsetbv(_RegisterOp):
    """Write XCR0."""

    xcr0: U64
    index: U64 = 0
    vcpu: Name = VCPU
    form = RegisterForm(
        PayloadOp.XSETBV,
        guest_control.xsetbv,
        "XSETBV({index}) {xcr0:#x}",
        wide="xcr0",
        rcx="index",
    )


@op("guest-xsetbv-user", "KVM_RUN", guest_control.XSETBV_BY_USER, on=_ON, operand="XSETBV at CPL 3")
class GuestXsetbvUser(_NotInL2):
    """Write XCR0 at CPL 3."""

    xcr0: U64
    vcpu: Name = VCPU
    form = RegisterForm(
        PayloadOp.XSETBV_CPL3,
        guest_control.xsetbv_by_user,
        "XSETBV at CPL 3 {xcr0:#x}",
        wide="xcr0",
    )


class _MsrOp(_RegisterOp):
    index: U64

    @property
    def known_in_l2(self) -> bool:
        # Others exit to L1 where the bitmap of MSRs has no bit for them, or need CET.
        return self.index & U32_MAX in {Msr.IA32_XFD, Msr.IA32_XFD_ERR, Msr.IA32_XSS}

    def refused(self, machine: Machine) -> str:  # noqa: ARG002
        ecx = self.index & U32_MAX
        return "" if ecx in _GUEST_MSRS else f"the model does not know what a guest has at {ecx:#x}"


@op("guest-rdmsr", "KVM_RUN", guest_msr.RDMSR, on=_ON, operand="RDMSR")
class GuestRdmsr(_MsrOp):
    """Read an MSR."""

    index: U64
    vcpu: Name = VCPU
    form = RegisterForm(PayloadOp.RDMSR, guest_msr.rdmsr, "RDMSR {msr}", rcx="index")


@op("guest-wrmsr", "KVM_RUN", guest_msr.WRMSR, on=_ON, operand="WRMSR")
class GuestWrmsr(_MsrOp):
    """Write an MSR."""

    index: U64
    value: U64
    vcpu: Name = VCPU
    form = RegisterForm(
        PayloadOp.WRMSR, guest_msr.wrmsr, "WRMSR {msr}={value:#x}", wide="value", rcx="index"
    )


@op("guest-cpuid", "KVM_RUN", guest_control.CPUID, on=_ON, operand="CPUID")
class GuestCpuidLeaf(_RegisterOp):
    """Read one subleaf."""

    leaf: U64
    subleaf: U64 = 0
    vcpu: Name = VCPU
    form = RegisterForm(
        PayloadOp.CPUID,
        guest_control.cpuid,
        "CPUID {leaf:#x}.{subleaf}",
        rax="leaf",
        rcx="subleaf",
    )


@op("guest-wrpkru", "KVM_RUN", guest_control.WRPKRU, on=_ON, operand="WRPKRU")
class GuestWrpkru(_RegisterOp):
    """Write PKRU; the lower halves of ``ecx`` and ``edx`` must be zero."""

    pkru: U64
    ecx: U64 = 0
    edx: U64 = 0
    vcpu: Name = VCPU
    form = RegisterForm(
        PayloadOp.WRPKRU,
        guest_control.wrpkru,
        "WRPKRU {pkru:#x}",
        rax="pkru",
        rcx="ecx",
        rdx="edx",
    )


@op("guest-write-cr0", "KVM_RUN", guest_control.WRITE_CR0, on=_ON, operand="MOV CR0")
class GuestWriteCr0(_NotInL2):
    """Write CR0."""

    cr0: U64
    vcpu: Name = VCPU
    form = RegisterForm(
        PayloadOp.WRITE_CR0, guest_control.write_cr0, "MOV CR0, {cr0:#x}", rax="cr0"
    )


@op("guest-write-cr4", "KVM_RUN", guest_control.WRITE_CR4, on=_ON, operand="MOV CR4")
class GuestWriteCr4(_NotInL2):
    """Write CR4."""

    cr4: U64
    vcpu: Name = VCPU
    form = RegisterForm(
        PayloadOp.WRITE_CR4, guest_control.write_cr4, "MOV CR4, {cr4:#x}", rax="cr4"
    )


@op("guest-ldmxcsr", "KVM_RUN", guest_vector.LDMXCSR, on=_ON, operand="LDMXCSR")
class GuestLdmxcsr(FixedGuestOp):
    """Load MXCSR."""

    mxcsr: U32
    vcpu: Name = VCPU

    @property
    def mnemonic(self) -> str:
        return f"LDMXCSR {self.mxcsr:#x}"

    def executes_as(self) -> Execution:
        model = partial(guest_vector.ldmxcsr, value=self.mxcsr)
        return Execution(PayloadOp.LDMXCSR, model, data=self.mxcsr.to_bytes(4, "little"))
