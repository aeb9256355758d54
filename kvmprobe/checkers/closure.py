"""KVM accepts what it advertises."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.abi.numbers import VMX_MSRS, Msr
from kvmprobe.checkers.checker import at
from kvmprobe.checkers.event import input_of, msrs, xcr0_of
from kvmprobe.results.claim import Claim
from kvmprobe.xstate.cpuid import LEAF_XSTATE, VMX, XSAVES_BIT
from kvmprobe.xstate.features import DYNAMIC, FPSSE, SSE_YMM
from kvmprobe.xstate.image import decode
from kvmprobe.xstate.layout import EXTENDED_OFFSET

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kvmprobe.checkers.event import Event
    from kvmprobe.checkers.observed import ObservedState, ObservedVcpu
    from kvmprobe.results.record import Finding


@at("KVM_SET_XCRS", "KVM_SET_XSAVE", "KVM_SET_MSRS")
def advertised_is_accepted(event: Event, state: ObservedState) -> Iterator[Finding]:
    """Check that KVM accepts the XCR0, XSTATE, XFD and XSS of the CPUID table that it advertises.

    INV-18, INV-23, INV-25.  Checked only while the vCPU's table has exactly the advertised
    components.
    """
    vcpu = state.vcpu(event)
    if vcpu is None or vcpu.table is None or state.advertised is None:
        return
    if (vcpu.table.xcr0, vcpu.table.xss) != (state.advertised.xcr0, state.advertised.xss):
        return
    content = input_of(event.call, state.captured)
    match event.name:
        case "KVM_SET_XCRS" if content and event.result < 0:
            yield from _xcr0(event, vcpu.table.xcr0, xcr0_of(content))
        case "KVM_SET_XSAVE" if len(content) >= EXTENDED_OFFSET and event.result < 0:
            yield from _xsave(event, state, vcpu, content)
        case "KVM_SET_MSRS" if content and event.result >= 0:
            yield from _msr(event, vcpu, msrs(content)[event.result :][:1])
        case _:
            return


def _xcr0(event: Event, advertised: int, value: int | None) -> Iterator[Finding]:
    if value == advertised:
        yield event.finding(
            "closure", "INV-23", Claim.ADVERTISED_XCR0_REFUSED, {"bits": advertised}
        )


def _xsave(
    event: Event, state: ObservedState, vcpu: ObservedVcpu, content: bytes
) -> Iterator[Finding]:
    given = decode(content, state.host.layout)
    legal = (
        not given.xstate_bv & ~((vcpu.table.xcr0 if vcpu.table else 0) | FPSSE)
        and not given.xcomp_bv
        and not any(given.reserved)
        and not (given.xstate_bv & (FPSSE | SSE_YMM) and given.mxcsr & ~state.host.mxcsr_mask)
    )
    if legal and event.result == -22:
        refused = {"bits": given.xstate_bv}
        yield event.finding("closure", "INV-18", Claim.ADVERTISED_XSTATE_REFUSED, refused)


def _msr(event: Event, vcpu: ObservedVcpu, refused: Sequence[tuple[int, int]]) -> Iterator[Finding]:
    table = vcpu.table
    for index, value in refused if table else ():
        features = table.find(LEAF_XSTATE, 1) if table else None
        xsaves = bool(features and features.eax >> XSAVES_BIT & 1)
        allowed = {
            Msr.IA32_XFD: table.xcr0 & DYNAMIC if table else 0,
            Msr.IA32_XFD_ERR: table.xcr0 & DYNAMIC if table else 0,
            Msr.IA32_XSS: table.xss if table and xsaves else 0,
        }.get(Msr(index) if index in set(Msr) else Msr.IA32_XFD, 0)
        if index in set(Msr) and value and not value & ~allowed:
            claim, name = Claim.ADVERTISED_MSR_REFUSED, Msr(index).name
            yield event.finding("closure", "INV-25", claim, {"register": name, "value": value})


@at("KVM_GET_MSRS")
def listed_is_readable(event: Event, state: ObservedState) -> Iterator[Finding]:
    """Check that KVM_GET_MSRS reads each MSR of KVM_GET_MSR_INDEX_LIST (INV-27).

    The MSRs of VMX are there for a vCPU whose CPUID has VMX alone (arch/x86/kvm/vmx/vmx.c:
    vmx_get_msr).
    """
    if event.result < 0 or not event.output:
        return
    asked = msrs(event.output)
    if event.result == len(asked) or (index := asked[event.result][0]) not in state.host.msrs:
        return
    vcpu = state.vcpu(event)
    if index not in VMX_MSRS or (vcpu and vcpu.table and vcpu.table.has(*VMX)):
        yield event.finding("closure", "INV-27", Claim.LISTED_MSR_UNREADABLE, {"index": index})
