"""Two views of one state agree: two calls that read it, or a value set and the value read back."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, TypeGuard

from kvmprobe.abi.numbers import KVM_CPUID_FLAG_SIGNIFICANT_INDEX, U32_MAX, Msr
from kvmprobe.checkers.checker import at
from kvmprobe.checkers.event import (
    cpuid_of,
    msrs,
    u64,
    written_image,
    xcr0_of,
    xstate_bv,
)
from kvmprobe.checkers.observed import FPU_MSRS, IMAGES
from kvmprobe.model.behaviours import Behaviour
from kvmprobe.results.claim import Claim
from kvmprobe.results.record import Statement
from kvmprobe.xstate.cpuid import (
    LEAF_EXTENDED_FEATURES,
    LEAF_FEATURES,
    LEAF_SGX,
    LEAF_XSTATE,
    OSPKE_BIT,
    OSXSAVE_BIT,
    PKU_BIT,
    XSAVEC_BIT,
    XSAVES_BIT,
)
from kvmprobe.xstate.features import FPSSE, SSE_YMM, XFeature, has, numbers
from kvmprobe.xstate.image import MXCSR_INIT, decode, init_content
from kvmprobe.xstate.layout import KVM_XSAVE_SIZE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmprobe.checkers.event import Event
    from kvmprobe.checkers.observed import ObservedState, ObservedVcpu
    from kvmprobe.results.record import Finding
    from kvmprobe.xstate.cpuid import CpuidEntry, CpuidTable
    from kvmprobe.xstate.image import XsaveFields
    from kvmprobe.xstate.layout import Layout

# Fields that struct kvm_fpu and the legacy area (SDM vol.1 table 10-2) share: name, bytes in
# kvm_fpu, bytes in the legacy area.  KVM_GET_FPU has never returned MXCSR.
_LEGACY = (
    ("ST registers", slice(0, 128), slice(32, 160)),
    ("FCW", slice(128, 130), slice(0, 2)),
    ("FSW", slice(130, 132), slice(2, 4)),
    ("FTW", slice(132, 133), slice(4, 5)),
    ("FOP", slice(134, 136), slice(6, 8)),
    ("FIP", slice(136, 144), slice(8, 16)),
    ("FDP", slice(144, 152), slice(16, 24)),
    ("XMM registers", slice(152, 408), slice(160, 416)),
)
_CR4 = slice(248, 256)
_OSXSAVE_IN_CR4, _PKE_IN_CR4 = 18, 22
_ENTRY = ("leaf", "subleaf", "eax", "ebx", "ecx", "edx")
_COMPACTION = 1 << XSAVEC_BIT | 1 << XSAVES_BIT
# Leaf, sub-leaf and register that KVM updates itself, and the bits that it updates.
_RUNTIME = {
    (0x1, 0, "ecx"): 1 << 27,
    (0x1, 0, "edx"): 1 << 9,
    (0x7, 0, "ecx"): 1 << 4,
    (LEAF_XSTATE, 0, "ebx"): U32_MAX,
    (LEAF_XSTATE, 1, "ebx"): U32_MAX,
    # XCR0 bits that enclaves may use, on kernels before 6.4; sub-leaf 1, or one entry for all.
    **{(LEAF_SGX, nr, name): U32_MAX for nr in (0, 1) for name in ("ecx", "edx")},
}


@at("KVM_GET_FPU", *IMAGES)
def fpu_and_xsave(event: Event, state: ObservedState) -> Iterator[Finding]:
    """Check that KVM_GET_FPU agrees with the legacy area of KVM_GET_XSAVE2 (§7.4)."""
    vcpu = state.vcpu(event)
    if vcpu is None or not event.output:
        return
    if event.name == "KVM_GET_FPU":
        fpu, image = event.output, _image(vcpu)
    else:
        fpu, image = vcpu.reading("KVM_GET_FPU"), event.output
    if not fpu or not image:
        return
    details = tuple(
        Statement(
            Claim.FPU_FIELD,
            {"field": name, "fpu": fpu[here][:8].hex(), "xsave": image[there][:8].hex()},
        )
        for name, here, there in _LEGACY
        if fpu[here] != image[there]
    )
    if details:
        yield event.finding("two-views", "§7.4", Claim.FPU_AND_XSAVE, details=details)


@at(*IMAGES)
def xsave_and_xsave2(event: Event, state: ObservedState) -> Iterator[Finding]:
    """Check that KVM_GET_XSAVE returns the first 4096 bytes of KVM_GET_XSAVE2 (INV-13)."""
    vcpu = state.vcpu(event)
    if vcpu is None or not event.output:
        return
    (other,) = IMAGES - {event.name}
    before = vcpu.reading(other)
    if before and before[:KVM_XSAVE_SIZE] != event.output[:KVM_XSAVE_SIZE]:
        yield event.finding("two-views", "INV-13", Claim.XSAVE_AND_XSAVE2)


@at("KVM_GET_XCRS", "KVM_GET_MSRS", "KVM_GET_CPUID2")
def set_and_get(event: Event, state: ObservedState) -> Iterator[Finding]:
    """Check that XCR0, MSRs and CPUID read back as set (INV-23, INV-25, INV-26, INV-35).

    A 0 for an MSR whose feature another CPUID table has taken away is accepted, and not stored.

    :see: arch/x86/kvm/x86.c: kvm_do_msr_access
    """
    vcpu = state.vcpu(event)
    if vcpu is None or not event.output:
        return
    match event.name:
        case "KVM_GET_XCRS":
            read = xcr0_of(event.output)
            if vcpu.xcr0 is not None and read != vcpu.xcr0:
                yield _differs("INV-23", event, "XCR0", vcpu.xcr0, read or 0)
        case "KVM_GET_MSRS":
            for index, value in msrs(event.output)[: event.result]:
                given = vcpu.msrs.get(index, value)
                ignored = vcpu.replaced and not given
                if index in FPU_MSRS and given != value and not ignored:
                    yield _differs("INV-25", event, Msr(index).name, given, value)
        case _:
            yield from _cpuid(event, vcpu, state)


def _differs(invariant: str, event: Event, what: str, accepted: int, read: int) -> Finding:
    values: dict[str, int | str] = {"register": what, "accepted": accepted, "read": read}
    return event.finding("set-and-get", invariant, Claim.SET_AND_GET, values)


def _cpuid(event: Event, vcpu: ObservedVcpu, state: ObservedState) -> Iterator[Finding]:
    read = cpuid_of(event.output)
    if read is None:
        return
    accepted = None if state.rewrites_cpuid else vcpu.table
    if accepted is not None and (changed := _changed_entries(accepted, read)):
        yield event.finding("set-and-get", "§4", Claim.CPUID_ENTRIES, details=changed)
    yield from _sizes(event, vcpu, state, read)
    if not state.rewrites_cpuid:
        yield from _bits_of_cr4(event, vcpu, state, read)


def _sizes(
    event: Event, vcpu: ObservedVcpu, state: ObservedState, read: CpuidTable
) -> Iterator[Finding]:
    """Check that CPUID 0xD.0:EBX follows XCR0, and 0xD.1:EBX follows XCR0 | IA32_XSS.

    :see: SDM vol.1 §13.2 "Enumeration of CPU Support for XSAVE Instructions";
        arch/x86/kvm/cpuid.c: kvm_update_cpuid_runtime
    """
    standard, compacted = read.find(LEAF_XSTATE, 0), read.find(LEAF_XSTATE, 1)
    if vcpu.xcr0 is None:
        return
    if _indexed(standard) and vcpu.xcr0 & ~state.host.layout.bitmap == 0:
        size = state.host.layout.size(vcpu.xcr0)
        if standard.ebx != size:
            sizes = {"value": standard.ebx, "xcr0": vcpu.xcr0, "size": size}
            yield event.finding("two-views", "INV-35", Claim.STANDARD_SIZE, sizes)
    xss = vcpu.msrs.get(Msr.IA32_XSS)
    if xss is None or not _indexed(compacted) or not compacted.eax & _COMPACTION:
        return
    enabled = vcpu.xcr0 | xss
    if state.rewrites_cpuid or not _described(state.host.cpu, enabled):
        return
    size = state.host.cpu.compacted_size(enabled)
    if compacted.ebx != size:
        sizes = {"value": compacted.ebx, "enabled": enabled, "size": size}
        yield event.finding("two-views", "INV-35", Claim.COMPACTED_SIZE, sizes)


def _indexed(entry: CpuidEntry | None) -> TypeGuard[CpuidEntry]:
    """Return True for an entry of one sub-leaf.

    Without the flag KVM uses one entry for all sub-leaves and writes it several times.
    """
    return entry is not None and bool(entry.flags & KVM_CPUID_FLAG_SIGNIFICANT_INDEX)


def _described(cpu: CpuidTable, components: int) -> bool:
    """Return True if leaf 0xD of the host lists each component."""
    return all(cpu.find(LEAF_XSTATE, nr) for nr in numbers(components & ~FPSSE))


def _bits_of_cr4(
    event: Event, vcpu: ObservedVcpu, state: ObservedState, read: CpuidTable
) -> Iterator[Finding]:
    """Check that OSXSAVE follows CR4.OSXSAVE, and OSPKE follows CR4.PKE.

    :see: SDM vol.2 CPUID; arch/x86/kvm/cpuid.c: kvm_update_cpuid_runtime, which does not touch
        OSPKE if the host has no PKU
    """
    sregs = vcpu.reading("KVM_GET_SREGS")
    if not sregs:
        return
    cr4 = u64(sregs[_CR4], 0)
    features = read.find(LEAF_FEATURES, 0)
    osxsave = cr4 >> _OSXSAVE_IN_CR4 & 1
    if features and features.ecx >> OSXSAVE_BIT & 1 != osxsave:
        yield event.finding("two-views", "INV-35", Claim.OSXSAVE, {"cr4": osxsave})
    extended = read.find(LEAF_EXTENDED_FEATURES, 0)
    host_has_pku = state.host.cpu.at(LEAF_EXTENDED_FEATURES, 0).ecx >> PKU_BIT & 1
    ospke = cr4 >> _PKE_IN_CR4 & 1
    if host_has_pku and _indexed(extended) and extended.ecx >> OSPKE_BIT & 1 != ospke:
        yield event.finding("two-views", "INV-35", Claim.OSPKE, {"cr4": ospke})


@lru_cache(maxsize=128)
def _changed_entries(accepted: CpuidTable, read: CpuidTable) -> tuple[Statement, ...]:
    there = _fixed(read)
    return tuple(
        Statement(
            Claim.CPUID_ENTRY_MISSING,
            dict(zip(_ENTRY, (leaf, subleaf, *registers), strict=True)),
        )
        for leaf, subleaf, flags, *registers in _fixed(accepted)
        if (leaf, subleaf, flags, *registers) not in there and (leaf or any(registers))
    )


@lru_cache(maxsize=128)
def _fixed(table: CpuidTable) -> tuple[tuple[int, ...], ...]:
    """Return the entries without the bits that KVM updates itself."""
    return tuple(
        (
            e.leaf,
            e.subleaf,
            e.flags,
            *(
                getattr(e, register) & ~_RUNTIME.get((e.leaf, _used_as(e), register), 0)
                for register in ("eax", "ebx", "ecx", "edx")
            ),
        )
        for e in table.entries
    )


def _used_as(entry: CpuidEntry) -> int:
    """Return the sub-leaf that KVM takes an entry for: 0 if its index is not significant.

    :see: arch/x86/kvm/cpuid.c: cpuid_entry2_find
    """
    return entry.subleaf if entry.flags & KVM_CPUID_FLAG_SIGNIFICANT_INDEX else 0


@at(*IMAGES)
def restored_and_saved(event: Event, state: ObservedState) -> Iterator[Finding]:
    """Check that an image reads back as set, with other components in INIT state (INV-20, INV-21).

    KVM drops a component that the guest's CPUID does not have, or for which XFD is armed (INV-28).
    """
    vcpu = state.vcpu(event)
    if vcpu is None or not vcpu.image or not event.output:
        return
    if Behaviour.VENDOR_REWRITES_CPUID in state.host.behaviours:
        # vcpu.table is then not the guest's CPUID.
        return
    layout = state.host.layout
    image = written_image(event.output, state.host)
    given, read = decode(vcpu.image[: len(image)], layout), decode(image, layout)
    visible = (vcpu.table.xcr0 if vcpu.table else 0) | FPSSE
    gained, lost = read.xstate_bv & ~given.xstate_bv, given.xstate_bv & ~read.xstate_bv
    lost &= visible & ~vcpu.msrs.get(Msr.IA32_XFD, ~0)
    wrong = [Statement(Claim.XSTATE_GAINED, {"bits": gained})] if gained else []
    wrong += [Statement(Claim.XSTATE_LOST, {"bits": lost})] if lost else []
    for nr, shown in read.contents.items():
        kept = given.xstate_bv & read.xstate_bv & 1 << nr
        if not has(gained, nr) and shown != _returned(nr, given, kept, layout):
            claim = Claim.CONTENT_CHANGED if kept else Claim.CONTENT_NOT_INIT
            wrong.append(Statement(claim, {"bits": 1 << nr}))
    mxcsr = given.mxcsr if read.xstate_bv & SSE_YMM else MXCSR_INIT
    if read.mxcsr != mxcsr:
        wrong.append(Statement(Claim.MXCSR, {"value": read.mxcsr, "expected": mxcsr}))
    if wrong:
        claim = Claim.RESTORED_AND_SAVED
        yield event.finding("set-and-get", "INV-20", claim, details=tuple(wrong))


def _returned(nr: int, given: XsaveFields, kept: int, layout: Layout) -> bytes:
    if not kept:
        return init_content(nr, layout)
    content = given.contents[nr]
    return content[:4] + bytes(len(content) - 4) if nr == XFeature.PKRU else content


@at("KVM_GET_MSRS", *IMAGES)
def xstate_and_xfd(event: Event, state: ObservedState) -> Iterator[Finding]:
    """Check that XSTATE_BV and IA32_XFD, read in the same state, have no common bit (INV-29)."""
    vcpu = state.vcpu(event)
    if vcpu is None or not event.output:
        return
    if event.name == "KVM_GET_MSRS":
        image, xfd = _image(vcpu), dict(msrs(event.output)[: event.result]).get(Msr.IA32_XFD, 0)
    else:
        image, xfd = event.output, vcpu.msrs.get(Msr.IA32_XFD, 0)
    if image and (both := xstate_bv(image) & xfd):
        yield event.finding("xstate-and-xfd", "INV-29", Claim.XSTATE_AND_XFD, {"bits": both})


def _image(vcpu: ObservedVcpu) -> bytes:
    return vcpu.reading("KVM_GET_XSAVE2") or vcpu.reading("KVM_GET_XSAVE")
