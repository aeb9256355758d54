"""The guest reads and writes control registers, XCR0, MSRs, CPUID, PKRU and MXCSR."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from kvmprobe.abi.payload import PayloadOp, Registers, command
from kvmprobe.model import guest_control, guest_msr, guest_vector
from kvmprobe.model.msr import msr_name
from kvmprobe.scenarios.ops._base import op
from kvmprobe.scenarios.ops.guest import GuestOp
from kvmprobe.scenarios.ops.lifecycle import VCPU
from kvmprobe.xstate.cpuid import halves

if TYPE_CHECKING:
    from collections.abc import Callable

    from kvmprobe.model.guest import Guest
    from kvmprobe.model.host import HostProfile

_MSR_SOURCE = "arch/x86/kvm/x86.c: kvm_set_msr_common, kvm_get_msr_common"


class _RegisterOp(GuestOp):
    """An instruction whose operands are in registers."""

    code: ClassVar[PayloadOp]
    model: ClassVar[Callable[[Guest], Guest]]

    def command(self, host: HostProfile) -> bytes:  # noqa: ARG002
        """Have it executed with its registers."""
        return command(self.code, self.registers)

    def instruction(self, host: HostProfile) -> Callable[[Guest], Guest]:  # noqa: ARG002
        """Take the class's."""
        return type(self).model


def _wide(value: int, ecx: int) -> Registers:
    """Return a value in EDX:EAX and an index in ECX."""
    low, high = halves(value)
    return Registers(rax=low, rcx=ecx, rdx=high)


@op("guest-xgetbv", "KVM_RUN(XGETBV)", "SDM vol.2 XGETBV")
@dataclass(frozen=True, slots=True)
class GuestXgetbv(_RegisterOp):
    """Read XCR0, or what of it is in use."""

    index: int = 0
    vcpu: str = VCPU
    code = PayloadOp.XGETBV
    model = guest_control.xgetbv
    rule = guest_control.XGETBV

    @property
    def registers(self) -> Registers:
        """ECX."""
        return Registers(rcx=self.index)

    @property
    def mnemonic(self) -> str:
        """The register."""
        return f"XGETBV({self.index})"


@op("guest-xsetbv", "KVM_RUN(XSETBV)", "arch/x86/kvm/x86.c: kvm_emulate_xsetbv", "SDM vol.2 XSETBV")
@dataclass(frozen=True, slots=True)
class GuestXsetbv(_RegisterOp):
    """Write XCR0."""

    xcr0: int
    index: int = 0
    vcpu: str = VCPU
    code = PayloadOp.XSETBV
    model = guest_control.xsetbv
    rule = guest_control.XSETBV

    @property
    def registers(self) -> Registers:
        """EDX:EAX and ECX."""
        return _wide(self.xcr0, self.index)

    @property
    def mnemonic(self) -> str:
        """The register and the value."""
        return f"XSETBV({self.index}) {self.xcr0:#x}"


@op("guest-xsetbv-user", "KVM_RUN(XSETBV at CPL 3)", "SDM vol.2 XSETBV")
@dataclass(frozen=True, slots=True)
class GuestXsetbvUser(_RegisterOp):
    """Write XCR0 without the privilege."""

    xcr0: int
    vcpu: str = VCPU
    code = PayloadOp.XSETBV_CPL3
    model = guest_control.xsetbv_by_user
    rule = guest_control.XSETBV_BY_USER

    @property
    def registers(self) -> Registers:
        """EDX:EAX."""
        return _wide(self.xcr0, 0)

    @property
    def mnemonic(self) -> str:
        """The value."""
        return f"XSETBV at CPL 3 {self.xcr0:#x}"


@op("guest-rdmsr", "KVM_RUN(RDMSR)", _MSR_SOURCE)
@dataclass(frozen=True, slots=True)
class GuestRdmsr(_RegisterOp):
    """Read an MSR."""

    index: int
    vcpu: str = VCPU
    code = PayloadOp.RDMSR
    model = guest_msr.rdmsr
    rule = guest_msr.RDMSR

    @property
    def registers(self) -> Registers:
        """ECX."""
        return Registers(rcx=self.index)

    @property
    def mnemonic(self) -> str:
        """The register."""
        return f"RDMSR {msr_name(self.index)}"


@op("guest-wrmsr", "KVM_RUN(WRMSR)", _MSR_SOURCE)
@dataclass(frozen=True, slots=True)
class GuestWrmsr(_RegisterOp):
    """Write an MSR."""

    index: int
    value: int
    vcpu: str = VCPU
    code = PayloadOp.WRMSR
    model = guest_msr.wrmsr
    rule = guest_msr.WRMSR

    @property
    def registers(self) -> Registers:
        """EDX:EAX and ECX."""
        return _wide(self.value, self.index)

    @property
    def mnemonic(self) -> str:
        """The register and the value."""
        return f"WRMSR {msr_name(self.index)}={self.value:#x}"


@op("guest-cpuid", "KVM_RUN(CPUID)", "arch/x86/kvm/cpuid.c: kvm_emulate_cpuid", "SDM vol.2 CPUID")
@dataclass(frozen=True, slots=True)
class GuestCpuidLeaf(_RegisterOp):
    """Read one sub-leaf."""

    leaf: int
    subleaf: int = 0
    vcpu: str = VCPU
    code = PayloadOp.CPUID
    model = guest_control.cpuid
    rule = guest_control.CPUID

    @property
    def registers(self) -> Registers:
        """EAX and ECX."""
        return Registers(rax=self.leaf, rcx=self.subleaf)

    @property
    def mnemonic(self) -> str:
        """The sub-leaf."""
        return f"CPUID {self.leaf:#x}.{self.subleaf}"


@op("guest-wrpkru", "KVM_RUN(WRPKRU)", "SDM vol.2 WRPKRU")
@dataclass(frozen=True, slots=True)
class GuestWrpkru(_RegisterOp):
    """Write PKRU; ``ecx`` and ``edx`` must be zero, in their lower halves."""

    pkru: int
    ecx: int = 0
    edx: int = 0
    vcpu: str = VCPU
    code = PayloadOp.WRPKRU
    model = guest_control.wrpkru
    rule = guest_control.WRPKRU

    @property
    def registers(self) -> Registers:
        """EAX, ECX and EDX."""
        return Registers(rax=self.pkru, rcx=self.ecx, rdx=self.edx)

    @property
    def mnemonic(self) -> str:
        """The value."""
        return f"WRPKRU {self.pkru:#x}"


@op("guest-write-cr0", "KVM_RUN(MOV CR0)", "arch/x86/kvm/x86.c: kvm_set_cr0")
@dataclass(frozen=True, slots=True)
class GuestWriteCr0(_RegisterOp):
    """Write CR0."""

    cr0: int
    vcpu: str = VCPU
    code = PayloadOp.WRITE_CR0
    model = guest_control.write_cr0
    rule = guest_control.WRITE_CR0

    @property
    def registers(self) -> Registers:
        """RAX."""
        return Registers(rax=self.cr0)

    @property
    def mnemonic(self) -> str:
        """The value."""
        return f"MOV CR0, {self.cr0:#x}"


@op("guest-write-cr4", "KVM_RUN(MOV CR4)", "arch/x86/kvm/x86.c: kvm_set_cr4")
@dataclass(frozen=True, slots=True)
class GuestWriteCr4(_RegisterOp):
    """Write CR4."""

    cr4: int
    vcpu: str = VCPU
    code = PayloadOp.WRITE_CR4
    model = guest_control.write_cr4
    rule = guest_control.WRITE_CR4

    @property
    def registers(self) -> Registers:
        """RAX."""
        return Registers(rax=self.cr4)

    @property
    def mnemonic(self) -> str:
        """The value."""
        return f"MOV CR4, {self.cr4:#x}"


@op("guest-ldmxcsr", "KVM_RUN(LDMXCSR)", "SDM vol.2 LDMXCSR")
@dataclass(frozen=True, slots=True)
class GuestLdmxcsr(GuestOp):
    """Load MXCSR."""

    mxcsr: int
    vcpu: str = VCPU
    rule = guest_vector.LDMXCSR

    @property
    def mnemonic(self) -> str:
        """The value."""
        return f"LDMXCSR {self.mxcsr:#x}"

    def command(self, host: HostProfile) -> bytes:  # noqa: ARG002
        """Put the value into the data area."""
        return command(PayloadOp.LDMXCSR, data=self.mxcsr.to_bytes(4, "little"))

    def instruction(self, host: HostProfile) -> Callable[[Guest], Guest]:  # noqa: ARG002
        """Load it."""
        return partial(guest_vector.ldmxcsr, value=self.mxcsr)
