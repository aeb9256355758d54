"""What is advertised is accepted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.abi.numbers import Msr
from kvmprobe.checkers.event import input_of, msrs, xcr0_of
from kvmprobe.results.record import Finding
from kvmprobe.xstate.cpuid import LEAF_XSTATE, XSAVES_BIT
from kvmprobe.xstate.features import DYNAMIC, FPSSE, SSE_YMM, names
from kvmprobe.xstate.image import decode
from kvmprobe.xstate.layout import EXTENDED_OFFSET

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmprobe.checkers.event import Event
    from kvmprobe.checkers.told import Told, VcpuTold


def advertised_is_accepted(event: Event, told: Told) -> Iterator[Finding]:
    """Expect a vCPU with the table that KVM advertises to take the XCR0, XSTATE, XFD, XSS in it.

    INV-18, INV-23, INV-25.  Judged only while the vCPU has that table's components, all of them.
    """
    vcpu = told.vcpu(event)
    if vcpu is None or vcpu.table is None or told.advertised is None:
        return
    if (vcpu.table.xcr0, vcpu.table.xss) != (told.advertised.xcr0, told.advertised.xss):
        return
    content = input_of(event.call, told.captured)
    match event.name:
        case "KVM_SET_XCRS" if content and event.result < 0:
            yield from _xcr0(event, vcpu.table.xcr0, xcr0_of(content))
        case "KVM_SET_XSAVE" if len(content) >= EXTENDED_OFFSET and event.result < 0:
            yield from _xsave(event, told, vcpu, content)
        case "KVM_SET_MSRS" if content and event.result >= 0:
            yield from _msr(event, vcpu, msrs(content)[event.result :][:1])
        case _:
            return


def _xcr0(event: Event, advertised: int, value: int | None) -> Iterator[Finding]:
    if value == advertised:
        text = f"CPUID 0xD.0 advertises {names(advertised)}, but KVM_SET_XCRS refuses just that"
        yield Finding("closure", "INV-23", event.step, text)


def _xsave(event: Event, told: Told, vcpu: VcpuTold, content: bytes) -> Iterator[Finding]:
    given = decode(content, told.host.layout)
    legal = (
        not given.xstate_bv & ~((vcpu.table.xcr0 if vcpu.table else 0) | FPSSE)
        and not given.xcomp_bv
        and not any(given.reserved)
        and not (given.xstate_bv & (FPSSE | SSE_YMM) and given.mxcsr & ~told.host.mxcsr_mask)
    )
    if legal and event.result == -22:
        text = f"KVM_SET_XSAVE refuses advertised components {names(given.xstate_bv)}"
        yield Finding("closure", "INV-18", event.step, text)


def _msr(event: Event, vcpu: VcpuTold, refused: list[tuple[int, int]]) -> Iterator[Finding]:
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
            text = f"KVM_SET_MSRS refuses {Msr(index).name}={names(value)}, which is advertised"
            yield Finding("closure", "INV-25", event.step, text)


def listed_is_readable(event: Event, told: Told) -> Iterator[Finding]:
    """Expect KVM_GET_MSRS to read each MSR of KVM_GET_MSR_INDEX_LIST (INV-27)."""
    if event.name != "KVM_GET_MSRS" or event.result < 0 or not event.output:
        return
    asked = msrs(event.output)
    if event.result < len(asked) and (index := asked[event.result][0]) in told.host.msrs:
        text = f"KVM_GET_MSRS does not read MSR {index:#x}, which the index list names"
        yield Finding("closure", "INV-27", event.step, text)
