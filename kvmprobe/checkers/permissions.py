"""A permission grows only by request, and sizes and CPUID tables follow it."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from kvmprobe.abi.numbers import ArchPrctlCode, KvmCap
from kvmprobe.checkers.checker import EVERY_IOCTL, at
from kvmprobe.checkers.event import cpuid_of, immediate_of, u64
from kvmprobe.checkers.observed import GROWING, growing
from kvmprobe.results.claim import Claim
from kvmprobe.scenarios.calls import MAIN, ArchPrctl, Relation
from kvmprobe.xstate.features import DYNAMIC, XTILE, XFeature
from kvmprobe.xstate.layout import KVM_XSAVE_SIZE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmprobe.checkers.event import Event
    from kvmprobe.checkers.observed import ObservedState
    from kvmprobe.results.record import Finding

_GUEST = ArchPrctlCode.REQ_XCOMP_GUEST_PERM
_REQUESTS = {ArchPrctlCode.REQ_XCOMP_PERM, _GUEST}
_GETS = {
    ArchPrctlCode.GET_XCOMP_SUPP,
    ArchPrctlCode.GET_XCOMP_PERM,
    ArchPrctlCode.GET_XCOMP_GUEST_PERM,
}
# Bits that only the kernel uses: supervisor components (SDM vol.1 §13.1) and
# FPU_GUEST_PERM_LOCKED.
_HIDDEN = 1 << 63 | sum(1 << nr for nr in (8, 10, 11, 12, 13, 14, 15, 16))
_TOO_LARGE = 20


@at("ArchPrctl")
def requests(event: Event, state: ObservedState) -> Iterator[Finding]:
    """Check the result of a permission request.

    An unknown or unsupported feature has its own errno (INV-3, INV-42), a request after the first
    vCPU returns EBUSY (INV-4, INV-6), and a small signal stack does not matter for guests (INV-2).
    """
    if not isinstance(event.call, ArchPrctl) or event.call.code not in _REQUESTS:
        return
    number = immediate_of(event.call)
    if number is None:
        return
    allowed, invariant = _allowed(event, state, number)
    if event.result not in allowed:
        expected, *other = allowed
        claim = Claim.REQUEST_RESULT_EITHER if other else Claim.REQUEST_RESULT
        results = {"result": event.result, "expected": expected}
        if other:
            results["alternative"] = other[0]
        yield event.finding("permission", invariant, claim, results, ops=(event.op,))


def _allowed(event: Event, state: ObservedState, number: int) -> tuple[tuple[int, ...], str]:
    dynamic = number == XFeature.XTILE_DATA and state.host.user_features & DYNAMIC
    if dynamic:
        return _allowed_dynamic(event, state)
    if number >= _TOO_LARGE:
        return (-errno.EINVAL,), "INV-3"
    # Kernels may know feature 19 (APX) or not; both are legal.
    known = (-errno.EINVAL, -errno.EOPNOTSUPP) if number == XFeature.APX else (-errno.EOPNOTSUPP,)
    return known, "INV-42" if number == XFeature.XTILE_DATA else "INV-3"


def _allowed_dynamic(event: Event, state: ObservedState) -> tuple[tuple[int, ...], str]:
    assert isinstance(event.call, ArchPrctl)  # noqa: S101 - for the type checker
    if event.call.code != _GUEST:
        return (0, -errno.ENOSPC), "INV-2"
    if event.by in state.granted:
        return (0,), "INV-2"
    if MAIN in state.locked and event.by == MAIN and not state.relations:
        return (-errno.EBUSY,), "INV-4"
    return (0, -errno.EBUSY), "INV-6"


@at("ArchPrctl")
def bitmaps(event: Event, state: ObservedState) -> Iterator[Finding]:
    """Check that a permission lies within the user features, without kernel bits (INV-1, INV-7)."""
    if not isinstance(event.call, ArchPrctl) or event.call.code not in _GETS or not event.output:
        return
    value = u64(event.output, 0)
    code = event.call.code
    if value & _HIDDEN:
        hidden = {"code": code, "bits": value & _HIDDEN}
        yield event.finding("permission", "INV-7", Claim.KERNEL_BITS_SHOWN, hidden)
    default = state.host.user_features & ~DYNAMIC
    if value & ~state.host.user_features or default & ~value:
        bitmap = {"code": code, "value": value, "default": default}
        yield event.finding("permission", "INV-1", Claim.PERMISSION_BITS, bitmap)
    is_guest = code == ArchPrctlCode.GET_XCOMP_GUEST_PERM
    if is_guest and event.by in state.granted and not value & DYNAMIC:
        yield event.finding("permission", "INV-2", Claim.GRANTED_NOT_SHOWN)


@at(*GROWING)
def growth(event: Event, state: ObservedState) -> Iterator[Finding]:
    """Check that permission and KVM_CAP_XSAVE2 never shrink within a process (INV-2, INV-8)."""
    value, before = growing(event), state.grown.get(event.made)
    if value is None or before is None or event.result < 0:
        return
    if event.name == "KVM_CHECK_EXTENSION" and value < before:
        yield event.finding(
            "growth", "INV-8", Claim.XSAVE2_SHRANK, {"before": before, "now": value}
        )
    if isinstance(event.call, ArchPrctl) and before & ~value:
        lost = before & ~value
        yield event.finding(
            "growth", "INV-2", Claim.PERMISSION_LOST, {"bits": lost}, ops=(event.op,)
        )


@at("KVM_CHECK_EXTENSION", "KVM_GET_SUPPORTED_CPUID")
def sizes(event: Event, state: ObservedState) -> Iterator[Finding]:
    """Check that KVM_CAP_XSAVE2 is the size in CPUID 0xD.0:ECX, but at least 4096 (INV-8)."""
    if event.by != MAIN:
        return
    if event.name == "KVM_CHECK_EXTENSION" and immediate_of(event.call) == KvmCap.XSAVE2:
        table = cpuid_of(state.system_reading("KVM_GET_SUPPORTED_CPUID"))
        size = max(event.result, 0)
    elif event.name == "KVM_GET_SUPPORTED_CPUID":
        table, size = cpuid_of(event.output), state.xsave2_size
    else:
        return
    if table and table.xstate_size and size and size != max(KVM_XSAVE_SIZE, table.xstate_size):
        both = {"size": size, "cpuid": table.xstate_size}
        yield event.finding("two-views", "INV-8", Claim.XSAVE2_SIZE, both)


@at("KVM_GET_SUPPORTED_CPUID")
def supported_table(event: Event, state: ObservedState) -> Iterator[Finding]:
    """Check that the table has both XTILE components or none, within KVM's XCR0 (INV-9, INV-10)."""
    if event.result < 0:
        return
    table = cpuid_of(event.output)
    if table is None:
        return
    if table.xcr0 & ~state.host.kvm_xcr0:
        beyond = table.xcr0 & ~state.host.kvm_xcr0
        yield event.finding("two-views", "INV-9", Claim.CPUID_BEYOND_KVM, {"bits": beyond})
    if table.xcr0 & XTILE not in {0, XTILE}:
        yield event.finding("closure", "INV-10", Claim.XTILE_ALONE, {"bits": table.xcr0 & XTILE})
    granted = event.by == MAIN and MAIN in state.granted
    if granted and state.host.kvm_xcr0 & ~table.xcr0 & DYNAMIC:
        yield event.finding("closure", "INV-10", Claim.XTILE_MISSING)


@at("KVM_SET_CPUID2")
def unpermitted(event: Event, state: ObservedState) -> Iterator[Finding]:
    """Check that KVM refuses XTILE_DATA in the table of a process without permission (INV-11)."""
    if event.result != 0 or state.relations:
        return
    vcpu = state.vcpu(event)
    if vcpu is None or vcpu.expanded or MAIN in state.granted or state.rewrites_cpuid:
        return
    table = state.table_given(event)
    if table and table.xcr0 & XFeature.XTILE_DATA.bit:
        yield event.finding("permission", "INV-11", Claim.UNPERMITTED_ACCEPTED)


@at(*EVERY_IOCTL)
def other_memory(event: Event, state: ObservedState) -> Iterator[Finding]:
    """Check that a forked process gets EIO from its parent's VMs and vCPUs (INV-41)."""
    forked = state.relations.get(event.by) is Relation.FORK
    others = state.own_descriptors if forked else state.parents_descriptors
    if event.on in others and event.result not in {-errno.EIO, -errno.EBADF}:
        result = event.result
        yield event.finding(
            "other-memory", "INV-41", Claim.OTHER_MEMORY, {"result": result}, ops=(event.op,)
        )
