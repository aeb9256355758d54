"""Control registers of a vCPU, as KVM_SET_SREGS restores them; CR4 decides what XSAVE needs.

Shaped like arch/x86/kvm/x86.c (regs.c since 7.3): kvm_is_valid_sregs, __set_sregs.  Leaves out
paging and segments other than those of a reset vCPU, and confidential guests.
"""

from __future__ import annotations

import errno
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING

from kvmprobe.model import vendor
from kvmprobe.model.behaviours import Behaviour
from kvmprobe.model.control import CR4_ALWAYS, EFER_COMMON, EFER_LMA, EFER_RESERVED, Cr4
from kvmprobe.model.doubt import after_any_sregs
from kvmprobe.model.feature import IBT, LA57, SHSTK
from kvmprobe.model.outcome import Done, Failed, Step
from kvmprobe.model.rule import KernelFile, KernelSource, Rule
from kvmprobe.xstate.cpuid import CpuidTable, Register

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvmprobe.model.host import HostProfile
    from kvmprobe.model.machine import GuestCpuid, Machine, Vcpu


CR0_FIELD, CR4_FIELD, EFER_FIELD = "cr0", "cr4", "efer"
# Known where a whole structure was given; otherwise as after reset, until the guest changes them.
_GIVEN_FIELDS = ("cs_base", "cs_selector", "cr2", "cr3")
_GIVEN = "KVM_SREGS"
_FEATURES: dict[Cr4, tuple[tuple[int, int, Register, int], ...]] = {
    Cr4.UMIP: ((7, 0, Register.ECX, 2),),
    Cr4.LA57: (LA57,),
    Cr4.VMXE: ((1, 0, Register.ECX, 5),),
    Cr4.FSGSBASE: ((7, 0, Register.EBX, 0),),
    Cr4.PCIDE: ((1, 0, Register.ECX, 17),),
    Cr4.OSXSAVE: ((1, 0, Register.ECX, 26),),
    Cr4.SMEP: ((7, 0, Register.EBX, 7),),
    Cr4.SMAP: ((7, 0, Register.EBX, 20),),
    Cr4.PKE: ((7, 0, Register.ECX, 3),),
    Cr4.CET: (SHSTK, IBT),
    Cr4.LAM_SUP: ((7, 1, Register.EAX, 26),),
}


def legal_cr4(host: HostProfile, cpuid: GuestCpuid | None, value: int) -> bool:
    """Return True if KVM_SET_SREGS, or the guest itself, may give CR4 this value.

    Each feature's bit needs the feature, in KVM and in the guest's CPUID; where that was never set,
    kernels differ.

    :see: arch/x86/kvm/x86.c: kvm_is_valid_cr4; arch/x86/kvm/x86.h: __cr4_reserved_bits
    """
    owned = vendor.legal_cr4(host)
    if owned is not None:
        return not value & ~owned
    allowed = _allowed(host.supported)
    if cpuid is not None:
        allowed &= _allowed(cpuid.table)
    elif Behaviour.CR4_NEEDS_CPUID in host.behaviours:
        allowed &= _allowed(CpuidTable(()))
    return not value & ~allowed


def illegal_cr4(host: HostProfile, cpuid: GuestCpuid | None, value: int) -> tuple[Cr4, ...]:
    """Return the features' bits of a value of CR4 that are not legal.

    :see: arch/x86/kvm/x86.c: kvm_is_valid_cr4
    """
    return tuple(bit for bit in Cr4 if value & bit.bit and not legal_cr4(host, cpuid, bit.bit))


@lru_cache(maxsize=64)
def _allowed(cpuid: CpuidTable) -> int:
    return CR4_ALWAYS | sum(
        bit.bit for bit, features in _FEATURES.items() if any(cpuid.has(*f) for f in features)
    )


SET_SREGS = Rule(
    "KVM_SET_SREGS writes every register; CR4 is within the features of KVM and the guest's CPUID",
    ("INV-19", "INV-34"),
    (
        KernelSource(KernelFile.KVM_X86, "kvm_is_valid_sregs"),
        KernelSource(KernelFile.KVM_X86, "kvm_is_valid_cr4"),
        KernelSource(KernelFile.KVM_X86, "__set_sregs_common"),
    ),
)


def set_sregs(
    machine: Machine,
    vcpu_name: str,
    cr4: int,
    kept_as: str,
    members: Mapping[str, int] = MappingProxyType({}),
) -> Step:
    """KVM_SET_SREGS or KVM_SET_SREGS2 of what GET returned and was kept, but for CR4 and others.

    :param members: the others, by name; see :func:`not_covered`
    :see: arch/x86/kvm/x86.c: kvm_is_valid_sregs, __set_sregs_common
    """
    if members:
        if _takes_any_efer(machine, members) and _may_have(machine, vcpu_name, cr4):
            return Step(after_any_sregs(machine), Done(), SET_SREGS)
        return Step(machine, Failed(errno.EINVAL), SET_SREGS)
    kept = machine.saved[kept_as]
    return restore_registers(machine, vcpu_name, {**kept, CR4_FIELD: cr4})


def not_covered(members: Mapping[str, int]) -> str:
    """Return which of the members that a SET changes the model has no rule for.

    Where :func:`decided`, the result is certain even so.

    :see: arch/x86/kvm/x86.c: kvm_is_valid_sregs
    """
    return f"{', '.join(members)} in KVM_SET_SREGS" if members else ""


def decided(machine: Machine, vcpu_name: str, cr4: int, members: Mapping[str, int]) -> bool:
    """Return True if CR4 or EFER alone decides: a reserved bit is refused, whatever the others are.

    Some CPUs define bits of EFER beyond SCE, LME, LMA and NX: there only a kernel that does not
    check EFER has a certain answer.

    :see: arch/x86/kvm/x86.c: kvm_is_valid_sregs, kvm_valid_efer, kvm_is_valid_cr4
    """
    if vendor.legal_cr4(machine.host) is not None:
        return False
    if not machine.doubt and not _may_have(machine, vcpu_name, cr4):
        return True
    efer = members.get(EFER_FIELD, 0)
    if not efer & ~EFER_COMMON:
        return False
    if Behaviour.SREGS_EFER_NOT_CHECKED in machine.host.behaviours:
        return _takes_any_efer(machine, members)
    return bool(efer & EFER_RESERVED)


def _may_have(machine: Machine, vcpu_name: str, cr4: int) -> bool:
    return legal_cr4(machine.host, machine.vcpu(vcpu_name).cpuid, cr4)


def _takes_any_efer(machine: Machine, members: Mapping[str, int]) -> bool:
    """Return True if a kernel with the defect accepts an EFER without the bits of long mode."""
    alone = set(members) == {EFER_FIELD} and not members[EFER_FIELD] & EFER_COMMON
    return alone and Behaviour.SREGS_EFER_NOT_CHECKED in machine.host.behaviours


def set_cr4(machine: Machine, vcpu_name: str, value: int) -> Step:
    """KVM_SET_SREGS or KVM_SET_SREGS2 of the registers as they are, but for CR4.

    :see: arch/x86/kvm/x86.c: kvm_is_valid_sregs, __set_sregs_common
    """
    present = control_registers(machine.vcpu(vcpu_name))
    return restore_registers(machine, vcpu_name, {**present, CR4_FIELD: value})


def restore_sregs(machine: Machine, vcpu_name: str, had: Vcpu) -> Step:
    """KVM_SET_SREGS of what KVM_GET_SREGS returned for another vCPU.

    :see: arch/x86/kvm/x86.c: kvm_is_valid_sregs, __set_sregs_common
    """
    return restore_registers(machine, vcpu_name, control_registers(had))


def control_registers(vcpu: Vcpu) -> Mapping[str, int]:
    """Return the control registers that the model has, by their names in ``struct kvm_sregs``.

    :see: arch/x86/include/uapi/asm/kvm.h: struct kvm_sregs
    """
    given = vcpu.state.get(_GIVEN, {})
    return {CR0_FIELD: vcpu.cr0, CR4_FIELD: vcpu.cr4, EFER_FIELD: vcpu.efer, **given}


def with_given(vcpu: Vcpu, registers: Mapping[str, int]) -> Vcpu:
    """Return the vCPU with registers of a structure in which every member was given, or none.

    :see: arch/x86/kvm/x86.c: __set_sregs_common
    """
    given = {name: registers[name] for name in _GIVEN_FIELDS if name in registers}
    others = {name: values for name, values in vcpu.state.items() if name != _GIVEN}
    cr0, cr4, efer = (registers[name] for name in (CR0_FIELD, CR4_FIELD, EFER_FIELD))
    state = {**others, _GIVEN: given} if given else others
    return vcpu._replace(cr0=cr0, cr4=cr4, efer=efer, state=state)


def restore_registers(machine: Machine, vcpu_name: str, registers: Mapping[str, int]) -> Step:
    """KVM_SET_SREGS, or a KVM_RUN that loads the same registers.

    :see: arch/x86/kvm/x86.c: kvm_is_valid_sregs, __set_sregs_common, sync_regs
    """
    vcpu = machine.vcpu(vcpu_name)
    cr4, efer = registers[CR4_FIELD], registers[EFER_FIELD]
    paged = efer & EFER_LMA and not cr4 & Cr4.PAE.bit
    if paged or not legal_cr4(machine.host, vcpu.cpuid, cr4):
        return Step(machine, Failed(errno.EINVAL), SET_SREGS)
    return Step(machine.with_vcpu(vcpu_name, with_given(vcpu, registers)), Done(), SET_SREGS)


GET_SREGS = Rule(
    "KVM_GET_SREGS returns the last accepted control registers",
    ("INV-19", "INV-34"),
    (KernelSource(KernelFile.KVM_X86, "__get_sregs_common"),),
)


def get_sregs(machine: Machine, vcpu_name: str, kept_as: str = "") -> Step:
    """KVM_GET_SREGS or KVM_GET_SREGS2: control registers as last set; otherwise the reset state.

    :param kept_as: a later KVM_SET_SREGS writes them by this name; the empty string keeps nothing
    :see: arch/x86/kvm/x86.c: __get_sregs_common
    """
    vcpu = machine.vcpu(vcpu_name)
    if kept_as:
        machine = machine._replace(saved={**machine.saved, kept_as: control_registers(vcpu)})
    return Step(machine, Done(fields=_fields(vcpu)), GET_SREGS)


def _fields(vcpu: Vcpu) -> dict[str, int]:
    # SDM vol.3 table 10-1 "IA-32 and Intel 64 Processor States Following Power-up, Reset, or INIT"
    reset = {"cs_base": 0xFFFF_0000, "cs_selector": 0xF000, "cr2": 0, "cr3": 0}
    return {**({} if vcpu.efer & EFER_LMA else reset), **control_registers(vcpu)}
