"""Pairs of calls whose order may change the state without an error, each with its source."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.abi.numbers import ArchPrctlCode, Msr
from kvmprobe.checkers.event import input_of, msrs, xstate_bv
from kvmprobe.model.behaviours import Behaviour
from kvmprobe.scenarios.calls import ArchPrctl
from kvmprobe.xstate.features import DYNAMIC
from kvmprobe.xstate.layout import EXTENDED_OFFSET

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvmprobe.checkers.event import NamedCall
    from kvmprobe.model.host import HostProfile
    from kvmprobe.scenarios.calls import Call

_RESTORE = frozenset(
    {
        "KVM_SET_CPUID",
        "KVM_SET_CPUID2",
        "KVM_SET_XCRS",
        "KVM_SET_MSRS",
        "KVM_SET_XSAVE",
        "KVM_SET_FPU",
        "KVM_SET_SREGS",
        "KVM_SET_SREGS2",
        "KVM_SET_REGS",
        "KVM_SET_DEBUGREGS",
        "KVM_SET_VCPU_EVENTS",
        "KVM_SET_LAPIC",
        "KVM_SET_MP_STATE",
        "RunVcpu",
    }
)
_REQUESTS = {ArchPrctlCode.REQ_XCOMP_PERM, ArchPrctlCode.REQ_XCOMP_GUEST_PERM}
_SET_CPUID = {"KVM_SET_CPUID", "KVM_SET_CPUID2"}
_SAME_STATE = (
    {"KVM_SET_FPU", "KVM_SET_XSAVE"},
    {"KVM_SET_SREGS", "KVM_SET_SREGS2"},
    _SET_CPUID,
)


def last_writer(first: NamedCall, second: NamedCall) -> bool:
    """Return True if two calls write the same state, so that the later one wins.

    Examples are two writes of one register, and KVM_SET_FPU and KVM_SET_XSAVE, which both write x87
    and SSE (contract §7.4).  Also True if one of them restores nothing, as a read or a fork: its
    result depends on its place anyway.
    """
    if not (_restores(first) and _restores(second)):
        return True
    if _descriptor(first.call) != _descriptor(second.call):
        return False
    pair = {first.name, second.name}
    if pair == {"KVM_SET_MSRS"}:
        return bool(_indices(first.call) & _indices(second.call))
    return len(pair) == 1 or any(pair <= same for same in _SAME_STATE)


def legal(prefix: Sequence[NamedCall], first: NamedCall, second: NamedCall) -> bool:
    """Return True if the contract allows the order of two calls to matter without an error."""
    return any(rule(prefix, first, second) for rule in LEGAL)


def disarming_after_restore(
    prefix: Sequence[NamedCall], first: NamedCall, second: NamedCall
) -> bool:
    """KVM_SET_XSAVE drops a component while XFD is armed for it, and keeps it after disarming.

    :see: contract §9 "A,F then F0", INV-28; SDM vol.1 §13.14 "Extended Feature Disable (XFD)"
    """
    pair = {first.name: first.call, second.name: second.call}
    if pair.keys() != {"KVM_SET_XSAVE", "KVM_SET_MSRS"}:
        return False
    image = input_of(pair["KVM_SET_XSAVE"], {})
    restored = xstate_bv(image) & DYNAMIC if len(image) >= EXTENDED_OFFSET else DYNAMIC
    armed = 0
    for made in prefix:
        armed = _xfd(made.call, armed) if made.name == "KVM_SET_MSRS" else armed
    return bool(restored & armed & ~_xfd(pair["KVM_SET_MSRS"], armed))


def ignored_without_feature(host: HostProfile, first: NamedCall, second: NamedCall) -> bool:
    """Return True if KVM_SET_MSRS may be ignored on one side of KVM_SET_CPUID2, without an error.

    :see: arch/x86/kvm/x86.c: kvm_do_msr_access, ignore_msrs
    """
    names = {first.name, second.name}
    ignores = Behaviour.UNSUPPORTED_MSRS_IGNORED in host.behaviours
    return ignores and "KVM_SET_MSRS" in names and not names.isdisjoint(_SET_CPUID)


LEGAL = (disarming_after_restore,)


def _restores(made: NamedCall) -> bool:
    call = made.call
    return made.name in _RESTORE or (isinstance(call, ArchPrctl) and call.code in _REQUESTS)


def _descriptor(call: Call) -> str:
    return str(call.code) if isinstance(call, ArchPrctl) else getattr(call, "on", "")


def _indices(call: Call) -> set[int]:
    content = input_of(call, {})
    return {index for index, _ in msrs(content)} if content else set()


def _xfd(call: Call, before: int) -> int:
    content = input_of(call, {})
    return dict(msrs(content)).get(Msr.IA32_XFD, before) if content else before
