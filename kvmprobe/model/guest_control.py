"""Control registers, XCR0 and CPUID as a guest reads and writes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.abi.numbers import U32_MAX
from kvmprobe.abi.payload import Registers
from kvmprobe.model.guest import Cr0, Vector
from kvmprobe.model.guest_cpuid import current
from kvmprobe.model.machine import GuestCpuid
from kvmprobe.model.sregs import Cr4, legal_cr4
from kvmprobe.model.xcr import legal_xcr0
from kvmprobe.xstate.cpuid import CpuidTable

if TYPE_CHECKING:
    from kvmprobe.model.guest import Guest

_CR0_DEFINED = 0xE005_003F


def nothing(guest: Guest) -> Guest:
    """NOP.

    :see: SDM vol.2 NOP
    """
    return guest


def ud2(guest: Guest) -> Guest:
    """UD2 raises #UD always.

    :see: SDM vol.2 UD
    """
    guest.require((False, Vector.UD))
    return guest


def read_cr0(guest: Guest) -> Guest:
    """MOV RAX, CR0.

    :see: SDM vol.2 "MOV—Move to/from Control Registers"
    """
    return guest.but(registers=guest.registers._replace(rax=guest.vcpu.cr0))


def write_cr0(guest: Guest) -> Guest:
    """MOV CR0, RAX in 64-bit mode.

    :see: arch/x86/kvm/x86.c: kvm_set_cr0, kvm_is_valid_cr0
    """
    value = guest.registers.rax
    paged = value & Cr0.PG and value & Cr0.PE
    cached = not value & Cr0.NW or value & Cr0.CD
    guest.require((paged and cached and not value >> 32, Vector.GP))
    return guest.with_vcpu(cr0=value & _CR0_DEFINED | Cr0.ET)


def clts(guest: Guest) -> Guest:
    """CLTS.

    :see: SDM vol.2 CLTS; arch/x86/kvm/vmx/vmx.c: handle_cr
    """
    return guest.with_vcpu(cr0=guest.vcpu.cr0 & ~Cr0.TS)


def read_cr4(guest: Guest) -> Guest:
    """MOV RAX, CR4.

    :see: SDM vol.2 "MOV—Move to/from Control Registers"
    """
    return guest.but(registers=guest.registers._replace(rax=guest.vcpu.cr4))


def write_cr4(guest: Guest) -> Guest:
    """MOV CR4, RAX in 64-bit mode: a feature's bit needs the feature in the guest's CPUID.

    :see: arch/x86/kvm/x86.c: kvm_set_cr4, __kvm_is_valid_cr4
    """
    value = guest.registers.rax
    legal = legal_cr4(guest.host, guest.vcpu.cpuid, value) and value & Cr4.PAE.bit
    guest.require((legal, Vector.GP))
    return guest.with_vcpu(cr4=value)


def xgetbv(guest: Guest) -> Guest:
    """XGETBV: XCR0, or with ECX=1 the part of it that is in use.

    :see: SDM vol.2 XGETBV; vol.1 §13.2 "Enumeration of CPU Support for XSAVE Instructions"
    """
    guest.require((guest.cr4_osxsave, Vector.UD), (guest.ecx in {0, 1}, Vector.GP))
    xcr0 = guest.vcpu.xcr0
    if guest.ecx == 0:
        return guest.with_eax_edx(xcr0)
    # UNSPECIFIED: SDM vol.1 §13.6: a CPU may or may not track that a component is INIT.
    return guest.with_eax_edx(xcr0 & guest.in_use, open_bits=xcr0 & ~guest.in_use)


def xsetbv(guest: Guest) -> Guest:
    """XSETBV at CPL 0: legal is what KVM_SET_XCRS accepts.

    :see: arch/x86/kvm/x86.c: kvm_emulate_xsetbv, __kvm_set_xcr
    """
    legal = guest.ecx == 0 and legal_xcr0(guest.edx_eax, guest.vcpu.guest_xcr0)
    guest.require((guest.cr4_osxsave, Vector.UD), (legal, Vector.GP))
    return guest.with_vcpu(xcr0=guest.edx_eax)


def xsetbv_by_user(guest: Guest) -> Guest:
    """XSETBV at CPL 3: #GP(0) whatever the value.

    :see: SDM vol.2 XSETBV; arch/x86/kvm/x86.c: kvm_emulate_xsetbv
    """
    guest.require((guest.cr4_osxsave, Vector.UD), (False, Vector.GP))
    return guest


def rdpkru(guest: Guest) -> Guest:
    """RDPKRU.

    :see: SDM vol.2 RDPKRU; arch/x86/kvm/x86.c: kvm_load_guest_xsave_state
    """
    guest.require((guest.vcpu.cr4 & Cr4.PKE.bit, Vector.UD), (guest.ecx == 0, Vector.GP))
    return guest.with_eax_edx(guest.vcpu.pkru)


def wrpkru(guest: Guest) -> Guest:
    """WRPKRU; KVM takes the value over at the exit.

    :see: SDM vol.2 WRPKRU; arch/x86/kvm/x86.c: kvm_load_host_xsave_state
    """
    zero = guest.ecx == 0 and not guest.registers.rdx & U32_MAX
    guest.require((guest.vcpu.cr4 & Cr4.PKE.bit, Vector.UD), (zero, Vector.GP))
    return guest.with_vcpu(pkru=guest.registers.rax & U32_MAX)


def cpuid(guest: Guest) -> Guest:
    """CPUID of a sub-leaf within the table's range; KVM keeps what follows registers current.

    :see: arch/x86/kvm/cpuid.c: kvm_emulate_cpuid, kvm_update_cpuid_runtime
    """
    held = current(guest.host, guest.vcpu, guest.vcpu.cpuid or GuestCpuid())
    found = CpuidTable(held.entries).find(guest.registers.rax & U32_MAX, guest.ecx)
    told = Registers(found.eax, found.ebx, found.ecx, found.edx) if found else Registers()
    return guest.but(registers=told)
