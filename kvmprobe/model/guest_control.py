"""Control registers, XCR0 and CPUID as a guest reads and writes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.abi.numbers import U32_MAX
from kvmprobe.abi.payload import Registers
from kvmprobe.errors import NotModelled
from kvmprobe.model.control import Cr0, Cr4
from kvmprobe.model.cpuid_refresh import as_held, refreshed
from kvmprobe.model.guest import ExitReason, Vector, instruction_rule
from kvmprobe.model.guest_cpuid import current
from kvmprobe.model.machine import U64_MAX
from kvmprobe.model.rule import KernelFile, KernelSource, ManualSource, Rule
from kvmprobe.model.sregs import legal_cr4
from kvmprobe.model.xcr import legal_xcr0
from kvmprobe.xstate.cpuid import LEAF_XSTATE, XGETBV1_BIT, Register

if TYPE_CHECKING:
    from kvmprobe.model.guest import Guest

_CR0_DEFINED = 0xE005_003F


NOTHING = instruction_rule("NOP changes nothing", "NOP")


def nothing(guest: Guest) -> Guest:
    """NOP.

    :see: SDM vol.2 NOP
    """
    return guest


UD2 = instruction_rule("UD2 raises #UD", "UD")


def ud2(guest: Guest) -> Guest:
    """UD2 raises #UD always.

    :see: SDM vol.2 UD
    """
    guest.require((False, Vector.UD))
    return guest


READ_CR0 = instruction_rule("MOV from CR0 returns CR0", "MOV—Move to/from Control Registers")


def read_cr0(guest: Guest) -> Guest:
    """MOV RAX, CR0.

    :see: SDM vol.2 "MOV—Move to/from Control Registers"
    """
    return guest._replace(registers=guest.registers._replace(rax=guest.vcpu.cr0))


WRITE_CR0 = Rule(
    "MOV to CR0 of an illegal value is #GP",
    ("INV-36",),
    (
        KernelSource(KernelFile.KVM_X86, "kvm_set_cr0"),
        KernelSource(KernelFile.KVM_X86, "kvm_is_valid_cr0"),
        ManualSource(2, "MOV—Move to/from Control Registers"),
    ),
)


def write_cr0(guest: Guest) -> Guest:
    """MOV CR0, RAX in 64-bit mode; CR0.WP stays set while CR4.CET is.

    :see: SDM vol.3 §2.5 "Control Registers"; arch/x86/kvm/x86.c: kvm_set_cr0, kvm_is_valid_cr0
    """
    value = guest.registers.rax
    paged = value & Cr0.PG and value & Cr0.PE
    cached = not value & Cr0.NW or value & Cr0.CD
    protected = value & Cr0.WP or not guest.vcpu.cr4 & Cr4.CET.bit
    guest.require((paged and cached and protected and not value >> 32, Vector.GP))
    return guest.with_vcpu(guest.vcpu._replace(cr0=value & _CR0_DEFINED | Cr0.ET))


CLTS = Rule(
    "CLTS clears CR0.TS",
    ("INV-36",),
    (
        KernelSource(KernelFile.KVM_VMX, "handle_cr"),
        ManualSource(2, "CLTS"),
    ),
)


def clts(guest: Guest) -> Guest:
    """CLTS.

    :see: SDM vol.2 CLTS; arch/x86/kvm/vmx/vmx.c: handle_cr
    """
    return guest.with_vcpu(guest.vcpu._replace(cr0=guest.vcpu.cr0 & ~Cr0.TS))


READ_CR4 = instruction_rule("MOV from CR4 returns CR4", "MOV—Move to/from Control Registers")


def read_cr4(guest: Guest) -> Guest:
    """MOV RAX, CR4.

    :see: SDM vol.2 "MOV—Move to/from Control Registers"
    """
    return guest._replace(registers=guest.registers._replace(rax=guest.vcpu.cr4))


WRITE_CR4 = Rule(
    "MOV to CR4 of a bit without its feature is #GP",
    ("INV-34",),
    (
        KernelSource(KernelFile.KVM_X86, "kvm_set_cr4"),
        KernelSource(KernelFile.KVM_X86, "__kvm_is_valid_cr4"),
        ManualSource(2, "MOV—Move to/from Control Registers"),
    ),
)


def write_cr4(guest: Guest) -> Guest:
    """MOV CR4, RAX in 64-bit mode: a feature's bit needs the feature in the guest's CPUID.

    CR4.CET needs CR0.WP, CR4.LA57 cannot change, and CR4.VMXE stays set in VMX operation.

    :see: SDM vol.3 §2.5 "Control Registers"; arch/x86/kvm/x86.c: kvm_set_cr4, __kvm_is_valid_cr4
    """
    value = guest.registers.rax
    vcpu = guest.vcpu
    legal = legal_cr4(guest.host, vcpu.cpuid, value) and value & Cr4.PAE.bit
    protected = vcpu.cr0 & Cr0.WP or not value & Cr4.CET.bit
    same_paging = not (value ^ vcpu.cr4) & Cr4.LA57.bit
    in_vmx = vcpu.vmxon == U64_MAX or value & Cr4.VMXE.bit
    guest.require((legal and protected and same_paging and in_vmx, Vector.GP))
    return guest.with_vcpu(guest.vcpu._replace(cr4=value))


XGETBV = instruction_rule(
    "XGETBV returns XCR0, or with ECX=1 the part of it that is in use", "XGETBV"
)


def xgetbv(guest: Guest) -> Guest:
    """XGETBV: XCR0, or with ECX=1 the part of it that is in use.

    :see: SDM vol.2 XGETBV; vol.1 §13.2 "Enumeration of CPU Support for XSAVE Instructions"
    """
    has_in_use = guest.host.cpu.has(LEAF_XSTATE, 1, Register.EAX, XGETBV1_BIT)
    legal = guest.ecx == 0 or (guest.ecx == 1 and has_in_use)
    guest.require((guest.cr4_osxsave, Vector.UD), (legal, Vector.GP))
    xcr0 = guest.vcpu.xcr0
    if guest.ecx == 0:
        return guest.with_eax_edx(xcr0)
    return guest.with_eax_edx(xcr0 & guest.in_use, open_bits=xcr0 & ~guest.in_use)


XSETBV = Rule(
    "XSETBV accepts what KVM_SET_XCRS accepts",
    ("INV-40",),
    (
        KernelSource(KernelFile.KVM_X86, "kvm_emulate_xsetbv"),
        KernelSource(KernelFile.KVM_X86, "__kvm_set_xcr"),
        ManualSource(2, "XSETBV"),
    ),
)


def xsetbv(guest: Guest) -> Guest:
    """XSETBV at CPL 0: legal is what KVM_SET_XCRS accepts; that of a nested guest exits to L1.

    :see: arch/x86/kvm/x86.c: kvm_emulate_xsetbv, __kvm_set_xcr;
        arch/x86/kvm/vmx/nested.c: nested_vmx_l1_wants_exit
    """
    legal = guest.ecx == 0 and legal_xcr0(guest.edx_eax, guest.vcpu.guest_xcr0)
    guest.require((guest.cr4_osxsave, Vector.UD))
    guest.exit_from_l2(ExitReason.XSETBV)
    guest.require((legal, Vector.GP))
    return guest.with_vcpu(guest.vcpu._replace(xcr0=guest.edx_eax))


XSETBV_BY_USER = Rule(
    "XSETBV at CPL 3 is #GP",
    ("INV-40",),
    (
        KernelSource(KernelFile.KVM_X86, "kvm_emulate_xsetbv"),
        ManualSource(2, "XSETBV"),
    ),
)


def xsetbv_by_user(guest: Guest) -> Guest:
    """XSETBV at CPL 3: #GP(0) whatever the value.

    :see: SDM vol.2 XSETBV; arch/x86/kvm/x86.c: kvm_emulate_xsetbv
    """
    if guest.vcpu.cr4 & Cr4.CET.bit:
        raise NotModelled("CPL 3 with CR4.CET: IRET and INT look for shadow stacks of both levels")
    guest.require((guest.cr4_osxsave, Vector.UD), (False, Vector.GP))
    return guest


RDPKRU = Rule(
    "RDPKRU returns the guest's PKRU",
    ("INV-36",),
    (
        KernelSource(KernelFile.KVM_X86, "kvm_load_guest_xsave_state"),
        ManualSource(2, "RDPKRU"),
    ),
)


def rdpkru(guest: Guest) -> Guest:
    """RDPKRU.

    :see: SDM vol.2 RDPKRU; arch/x86/kvm/x86.c: kvm_load_guest_xsave_state
    """
    guest.require((guest.vcpu.cr4 & Cr4.PKE.bit, Vector.UD), (guest.ecx == 0, Vector.GP))
    return guest.with_eax_edx(guest.vcpu.pkru)


WRPKRU = Rule(
    "WRPKRU sets the PKRU that KVM_GET_XSAVE2 returns",
    ("INV-22",),
    (
        KernelSource(KernelFile.KVM_X86, "kvm_load_host_xsave_state"),
        ManualSource(2, "WRPKRU"),
    ),
)


def wrpkru(guest: Guest) -> Guest:
    """WRPKRU; KVM takes the value over at the exit.

    :see: SDM vol.2 WRPKRU; arch/x86/kvm/x86.c: kvm_load_host_xsave_state
    """
    zero = guest.ecx == 0 and not guest.registers.rdx & U32_MAX
    guest.require((guest.vcpu.cr4 & Cr4.PKE.bit, Vector.UD), (zero, Vector.GP))
    return guest.with_vcpu(guest.vcpu._replace(pkru=guest.registers.rax & U32_MAX))


CPUID = Rule(
    "CPUID returns the table of the vCPU, current in what follows registers",
    ("INV-35",),
    (
        KernelSource(KernelFile.KVM_CPUID, "kvm_emulate_cpuid"),
        KernelSource(KernelFile.KVM_CPUID, "kvm_update_cpuid_runtime"),
        ManualSource(2, "CPUID"),
    ),
)


def cpuid(guest: Guest) -> Guest:
    """CPUID of a sub-leaf within the table's range; KVM keeps what follows registers current.

    That of a nested guest exits to L1.

    :see: arch/x86/kvm/cpuid.c: kvm_emulate_cpuid, kvm_update_cpuid_runtime;
        arch/x86/kvm/vmx/nested.c: nested_vmx_l1_wants_exit
    """
    guest.exit_from_l2(ExitReason.CPUID)
    guest = guest.with_vcpu(refreshed(guest.host, guest.vcpu))
    held = current(guest.host, as_held(guest.vcpu), guest.cpuid)
    found = held.table.find(guest.registers.rax & U32_MAX, guest.ecx)
    result = Registers(found.eax, found.ebx, found.ecx, found.edx) if found else Registers()
    return guest._replace(registers=result)
