"""Control-flow enforcement: which of its MSRs a guest has, their values, and their place in XSTATE.

Leaves out CET state that WRMSR would refuse and that the guest loads with XRSTORS.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from kvmprobe.abi.numbers import Msr
from kvmprobe.model.behaviours import Behaviour
from kvmprobe.model.feature import IBT, LA57, LONG_MODE, SHSTK, has_feature, offers
from kvmprobe.xstate.features import XFeature

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvmprobe.model.host import HostProfile
    from kvmprobe.model.machine import Vcpu

CONTROLS = frozenset({Msr.IA32_U_CET, Msr.IA32_S_CET})
SHADOW_STACK_POINTERS = frozenset(map(Msr, range(Msr.IA32_PL0_SSP, Msr.IA32_PL3_SSP + 1)))
MSRS = CONTROLS | SHADOW_STACK_POINTERS | {Msr.IA32_INT_SSP_TAB}
# SDM vol.1 §13.5.9 "CET State": the MSRs in each component, 8 bytes each.
COMPONENTS: Mapping[XFeature, tuple[Msr, ...]] = {
    XFeature.CET_USER: (Msr.IA32_U_CET, Msr.IA32_PL3_SSP),
    XFeature.CET_KERNEL: (Msr.IA32_PL0_SSP, Msr.IA32_PL1_SSP, Msr.IA32_PL2_SSP),
}
IN_XSTATE = frozenset(index for indices in COMPONENTS.values() for index in indices)
# SDM vol.4 table 2-2, IA32_U_CET: SH_STK_EN and WR_SHSTK_EN; reserved; SUPPRESS and TRACKER.
_SHADOW_STACK_BITS, _RESERVED, _EXCLUSIVE = 0b11, 0xF << 6, 0b11 << 10
# KERNEL: kvm_is_valid_u_s_cet refuses these bits of EB_LEG_BITMAP_BASE, which the SDM allows.
_REFUSED_BY_KVM = 0b11 << 12


def exists(host: HostProfile, vcpu: Vcpu, index: int) -> bool:
    """Return True if the guest has this MSR of CET.

    :see: SDM vol.4 table 2-2 "IA-32 Architectural MSRs"; arch/x86/kvm/x86.c: __kvm_set_msr
    """
    stacks, tracking = (has_feature(host, vcpu, feature) for feature in (SHSTK, IBT))
    if index in CONTROLS:
        return stacks or tracking
    if index == Msr.IA32_INT_SSP_TAB:
        return stacks and has_feature(host, vcpu, LONG_MODE)
    return stacks and index in SHADOW_STACK_POINTERS


def accepted_from_host(host: HostProfile, vcpu: Vcpu, index: int, value: int) -> bool:
    """Return True if KVM_SET_MSRS accepts a value of an MSR that exists.

    :see: arch/x86/kvm/x86.c: kvm_is_valid_u_s_cet, __kvm_set_msr
    """
    if index not in CONTROLS:
        return legal(host, vcpu, index, value)
    if value & _REFUSED_BY_KVM:
        return False
    stacks, tracking = (has_feature(host, vcpu, feature) for feature in (SHSTK, IBT))
    bits_legal = _legal_control(value, _defined(stacks=stacks, tracking=tracking))
    checks_base = Behaviour.CET_BASE_NOT_CHECKED not in host.behaviours
    return bits_legal and (not checks_base or _is_canonical(host, value))


def legal_ssp(host: HostProfile, value: int) -> bool:
    """Return True if the shadow stack pointer can be ``value``.

    :see: SDM vol.3 §27.3.1.4 "Checks on Guest RIP, RFLAGS, and SSP";
        arch/x86/kvm/x86.c: __kvm_set_msr
    """
    return not value % 4 and _is_canonical(host, value)


def keeps(host: HostProfile, index: int, value: int) -> bool:
    """Return True if a value that KVM accepted reaches the MSR.

    KVM writes what is in XSTATE with WRMSR, whose #GP it ignores.

    :see: arch/x86/kvm/x86.c: kvm_set_xstate_msr; arch/x86/mm/extable.c: ex_handler_msr
    """
    return index not in IN_XSTATE or _is_canonical(host, value)


def loadable_at_entry(host: HostProfile, vcpu: Vcpu) -> bool:
    """Return True if VM entry accepts IA32_S_CET.

    :see: SDM vol.3 §27.3.1.1 "Checks on Guest Control Registers, Debug Registers, and MSRs"
    """
    return _is_canonical(host, vcpu.msrs.get(Msr.IA32_S_CET, 0))


def legal(host: HostProfile, vcpu: Vcpu, index: int, value: int) -> bool:
    """Return True if WRMSR of an MSR that exists accepts a value, by the guest's features.

    :see: SDM vol.1 §17.2 "CET MSRs"; vol.4 table 2-2 "IA-32 Architectural MSRs"
    """
    stacks, tracking = (has_feature(host, vcpu, feature) for feature in (SHSTK, IBT))
    return _legal(host, index, value, _defined(stacks=stacks, tracking=tracking))


def legal_on_cpu(host: HostProfile, index: int, value: int) -> bool:
    """Return True if WRMSR accepts a value on a CPU with all features that KVM offers.

    :see: SDM vol.4 table 2-2 "IA-32 Architectural MSRs"
    """
    defined = _defined(stacks=offers(host, SHSTK), tracking=offers(host, IBT))
    return _legal(host, index, value, defined)


def _defined(*, stacks: bool, tracking: bool) -> int:
    return (_SHADOW_STACK_BITS if stacks else 0) | (~_SHADOW_STACK_BITS if tracking else 0)


def _legal(host: HostProfile, index: int, value: int, defined: int) -> bool:
    if index in CONTROLS:
        legal = _legal_control(value, defined)
    else:
        legal = index == Msr.IA32_INT_SSP_TAB or not value % 4
    return legal and _is_canonical(host, value)


def _legal_control(value: int, defined: int) -> bool:
    return not value & (_RESERVED | ~defined) and value & _EXCLUSIVE != _EXCLUSIVE


def _is_canonical(host: HostProfile, value: int) -> bool:
    # SDM vol.3 §4.5.3: WRMSR checks for the width that the CPU has, whatever the paging mode.
    width = 57 if offers(host, LA57) else 48
    return value >> width - 1 in {0, (1 << 65 - width) - 1}


def content(vcpu: Vcpu, nr: int) -> bytes:
    """Return the content of a CET component.

    :see: SDM vol.1 §13.5.9 "CET State"
    """
    values = [vcpu.msrs.get(index, 0) for index in COMPONENTS[XFeature(nr)]]
    return struct.pack(f"<{len(values)}Q", *values)


def with_content(vcpu: Vcpu, nr: int, given: bytes) -> Vcpu:
    """Return the vCPU with the content of a CET component in its MSRs.

    :see: SDM vol.1 §13.5.9 "CET State"
    """
    indices = COMPONENTS[XFeature(nr)]
    values = struct.unpack(f"<{len(indices)}Q", given)
    return vcpu._replace(msrs={**vcpu.msrs, **dict(zip(indices, values, strict=True))})
