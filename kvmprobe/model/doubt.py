"""What the model does not cover: a result without a rule, and what is then uncertain.

A call whose values the model has no rule for may be accepted or refused.  The parts of the vCPU's
state that it writes are in doubt from then on, and so is the answer of each call that depends on
them.  Nothing there is judged by the model; the checkers judge it by what the kernel itself said.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from kvmprobe.model.outcome import HostDies, NotCovered, Step

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvmprobe.model.machine import Machine


class Part(StrEnum):
    """A part of a vCPU's state, named after the ioctls that move it."""

    REGS = "REGS"
    SREGS = "SREGS"
    EVENTS = "VCPU_EVENTS"
    MP_STATE = "MP_STATE"
    DEBUGREGS = "DEBUGREGS"
    LAPIC = "LAPIC"
    CPUID = "CPUID2"
    FPU = "FPU"


_ALL = frozenset(Part)
_NOTHING: frozenset[Part] = frozenset()
_SREGS = frozenset({Part.SREGS})
_FPU = frozenset({Part.FPU})
# CPUID reports CR4.OSXSAVE, CR4.PKE and IA32_APIC_BASE.
_CPUID = frozenset({Part.CPUID})
_RUNTIME_CPUID = _SREGS | _CPUID
_DEPENDS: Mapping[str, frozenset[Part]] = {
    **{f"KVM_{verb}_{part}": frozenset({part}) for part in Part for verb in ("GET", "SET")},
    **dict.fromkeys(("KVM_GET_SREGS2", "KVM_SET_SREGS2"), _SREGS),
    **dict.fromkeys(("KVM_GET_XSAVE", "KVM_GET_XSAVE2", "KVM_SET_XSAVE"), _FPU),
    **dict.fromkeys(("KVM_GET_XCRS", "KVM_SET_XCRS"), _FPU),
    "KVM_GET_CPUID2": _RUNTIME_CPUID,
    "KVM_SET_CPUID": _CPUID,
    # The op says which MSRs it has no rule for.
    **dict.fromkeys(("KVM_GET_MSRS", "KVM_SET_MSRS"), _FPU),
    **dict.fromkeys(("KVM_GET_ONE_REG", "KVM_SET_ONE_REG", "KVM_GET_REG_LIST"), _FPU),
}
# arch/x86/kvm/x86.c: __set_sregs queues an interrupt, writes CR8 and may make the vCPU runnable.
_AFTER_SREGS = _SREGS | {Part.EVENTS, Part.MP_STATE, Part.LAPIC}
# kvm_vcpu_ioctl_x86_set_vcpu_events: an exception's payload goes to CR2 or DR6, SMM to MP_STATE.
_AFTER_EVENTS = frozenset({Part.EVENTS, Part.SREGS, Part.DEBUGREGS, Part.MP_STATE})
# IA32_EFER, FS and GS base, IA32_APIC_BASE, IA32_MISC_ENABLE and x2APIC registers.
_AFTER_MSRS = _AFTER_SREGS | _CPUID
_MAY_CHANGE: Mapping[str, frozenset[Part]] = {
    "KVM_SET_SREGS": _AFTER_SREGS,
    "KVM_SET_SREGS2": _AFTER_SREGS,
    "KVM_SET_VCPU_EVENTS": _AFTER_EVENTS,
    "KVM_SET_MSRS": _AFTER_MSRS,
    "KVM_SET_ONE_REG": _AFTER_MSRS,
    "KVM_GET_MSRS": _NOTHING,
    "KVM_GET_ONE_REG": _NOTHING,
}


def after_any_sregs(machine: Machine) -> Machine:
    """Return the machine after a KVM_SET_SREGS that was accepted with values without a rule.

    :see: arch/x86/kvm/x86.c: __set_sregs
    """
    return machine._replace(doubt=machine.doubt | _AFTER_SREGS)


def after_sipi(machine: Machine) -> Machine:
    """Return the machine after a vCPU got a SIPI, whose vector gives it another RIP and CS.

    :see: arch/x86/kvm/x86.c: kvm_vcpu_deliver_sipi_vector
    """
    return machine._replace(doubt=machine.doubt | {Part.REGS, Part.SREGS})


def judged(step: Step, call: str, reason: str) -> Step:
    """Return a vCPU's step as far as the model covers it.

    A host that dies is always foreseen, whatever else is in doubt.

    :param call: name of the ioctl
    :param reason: what the model has no rule for in the call itself; empty if it has one
    :see: arch/x86/kvm/x86.c: kvm_arch_vcpu_ioctl
    """
    doubt = step.machine.doubt & _DEPENDS.get(call, _ALL)
    if isinstance(step.outcome, HostDies | NotCovered) or not (reason or doubt):
        return step
    reason = reason or f"{', '.join(sorted(doubt))} after a result without a rule"
    spread = _MAY_CHANGE.get(call, _ALL if call == "KVM_RUN" else doubt)
    after = step.machine._replace(doubt=step.machine.doubt | spread)
    return Step(after, NotCovered(reason, step.outcome), step.rule)
