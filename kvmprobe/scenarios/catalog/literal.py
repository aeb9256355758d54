"""Literal input: CPUID entries, templates, XSAVE bytes, MSRs and SREGS as a file may have them.

Tables and images are made for the host, so that KVM accepts those that are meant to be accepted.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from kvmprobe.abi import ioctls
from kvmprobe.abi.numbers import KVM_CPUID_FLAG_SIGNIFICANT_INDEX, U32_MAX, Msr
from kvmprobe.model.control import EFER_LMA, EFER_LME, EFER_NX, EFER_SCE, Cr0, Cr4
from kvmprobe.model.feature import LONG_MODE, NX
from kvmprobe.scenarios.catalog._starts import ASK, NO_CPUID, PLAIN, VCPU, Start, scenario
from kvmprobe.scenarios.cpuid_tables import Table, table
from kvmprobe.scenarios.ops.cpuid import GetCpuid2
from kvmprobe.scenarios.ops.literal import (
    SetCpuid2Entries,
    SetCpuid2Template,
    SetSregs2Literal,
    SetSregsLiteral,
    SetUnknownMsr,
    SetXsaveLiteral,
)
from kvmprobe.scenarios.ops.msrs import GetMsrs, SetMsrs
from kvmprobe.scenarios.ops.run import RunUntilHalt
from kvmprobe.scenarios.ops.sregs import GetSregs, GetSregs2, SetSregs
from kvmprobe.scenarios.ops.xcrs import GetXcrs, SetXcrs
from kvmprobe.scenarios.ops.xsave import GetXsave2
from kvmprobe.scenarios.scenario import ScenarioStep
from kvmprobe.xstate import patterns
from kvmprobe.xstate.cpuid import (
    AMX_FEATURES,
    APIC_BIT,
    LEAF_EXTENDED_FEATURES,
    LEAF_FEATURES,
    LEAF_XSTATE,
    OSXSAVE_BIT,
    CpuidEntry,
    CpuidTable,
    Register,
)
from kvmprobe.xstate.features import FPSSE, MPX, SSE_YMM, XTILE, XFeature
from kvmprobe.xstate.layout import HEADER_OFFSET, KVM_XSAVE_SIZE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvmprobe.abi.layout import Layout
    from kvmprobe.model.host import HostProfile
    from kvmprobe.scenarios.literal_fields import CpuidChanges
    from kvmprobe.scenarios.ops import Op
    from kvmprobe.scenarios.scenario import Scenario

_INDEXED = KVM_CPUID_FLAG_SIGNIFICANT_INDEX
_AVX = FPSSE | SSE_YMM
_ASKED = Start("asked", (ASK, *VCPU))
_SEE: Mapping[type[Op], tuple[Op, ...]] = {
    SetCpuid2Entries: (GetCpuid2(),),
    SetCpuid2Template: (GetCpuid2(),),
    SetXsaveLiteral: (GetXsave2(),),
    SetXcrs: (GetXcrs(), GetCpuid2()),
    SetMsrs: (GetMsrs((Msr.IA32_PAT,)),),
    RunUntilHalt: (GetXsave2(), GetXcrs()),
    SetSregsLiteral: (GetSregs(), GetSregs2(), GetCpuid2()),
    SetSregs2Literal: (GetSregs(), GetSregs2(), GetCpuid2()),
    SetSregs: (GetSregs2(), GetCpuid2()),
}


def scenarios(host: HostProfile) -> tuple[Scenario, ...]:
    """Return the family."""
    return (*_tables(host), *_templates(), *_images(host), *_msrs(), *_sregs(host))


def _literal(row: str, start: Start, *ops: Op) -> Scenario:
    steps = (ScenarioStep(op, _SEE.get(type(op), ())) for op in ops)
    return scenario("literal", row, start, *steps)


def _tables(host: HostProfile) -> tuple[Scenario, ...]:
    full = table(host, Table.NO_AMX)
    features = full.at(LEAF_FEATURES, 0)
    variants = {
        "same": full,
        "no-entries": CpuidTable(()),
        "no-apic": full.replaced(LEAF_FEATURES, 0, edx=features.edx & ~(1 << APIC_BIT)),
        "stale-fields": full.replaced(LEAF_FEATURES, 0, ecx=features.ecx ^ 1 << OSXSAVE_BIT)
        .replaced(LEAF_XSTATE, 0, ebx=U32_MAX)
        .replaced(LEAF_XSTATE, 1, ebx=U32_MAX),
        "entry-twice": CpuidTable(
            (*full.entries, full.at(LEAF_XSTATE, 0)._replace(eax=FPSSE, edx=0))
        ),
        "other-flags": CpuidTable(tuple(e._replace(flags=e.flags | 6) for e in full.entries)),
        "another-hypervisor": CpuidTable(
            (
                *(entry for entry in full.entries if entry.leaf >> 16 != 0x4000),
                CpuidEntry(0x4000_0000, 0, 0, 0x4000_0000, 1, 2, 3),
            )
        ),
        "too-many": CpuidTable((*full.entries, *[CpuidEntry(0, 0, 0, 0, 0, 0, 0)] * 256)),
    }
    made = {name: SetCpuid2Entries(variant.entries) for name, variant in variants.items()}
    xcr0 = SetXcrs(host.kvm_xcr0 & _AVX)
    other = SetCpuid2Entries(table(host, Table.ONE_REGISTER).entries)
    again = (made["same"], RunUntilHalt(), made["same"], other, made["same"])
    return (
        *(_literal(f"cpuid-{n}", NO_CPUID, op, xcr0, RunUntilHalt()) for n, op in made.items()),
        _literal("cpuid-after-run", NO_CPUID, *again),
    )


def _templates() -> tuple[Scenario, ...]:
    no_amx: CpuidChanges = (
        (LEAF_EXTENDED_FEATURES, 0, _INDEXED, Register.EDX, AMX_FEATURES, 0),
        (LEAF_XSTATE, 0, _INDEXED, Register.EAX, XTILE, 0),
    )
    avx: CpuidChanges = (
        *no_amx,
        (LEAF_XSTATE, 0, _INDEXED, Register.EAX, U32_MAX, _AVX),
        (LEAF_XSTATE, 0, _INDEXED, Register.ECX, U32_MAX, 0),
        (LEAF_XSTATE, 1, _INDEXED, Register.EAX, 0b11000, 0),
    )
    variants: Mapping[str, CpuidChanges] = {
        "no-change": (),
        "no-amx": no_amx,
        "avx": avx,
        "absent-leaf": ((0x77, 0, 0, Register.EAX, U32_MAX, 1), *no_amx),
    }
    return tuple(
        _literal(f"template-{name}", _ASKED, SetCpuid2Template(changes), RunUntilHalt())
        for name, changes in variants.items()
    )


def _images(host: HostProfile) -> tuple[Scenario, ...]:
    components = host.kvm_xcr0 & ~XTILE & ~MPX
    mask = host.mxcsr_mask
    whole = patterns.image(components, host.layout, _image_size(host), mask)
    # An x87 exception that is not masked and pending, with FOP, FIP and FDP.
    x87 = struct.pack("<HHBBHQQ", 0x27E, 0x8081, 0, 0, 0x123, 0x1000, 0x2000)
    variants = {
        "zero": bytes(KVM_XSAVE_SIZE),
        "every-component": whole,
        "x87-exception": x87 + _with_xstate_bv(whole, XFeature.FP.bit)[len(x87) :],
        "unknown-component": _with_xstate_bv(whole, FPSSE | 1 << 62),
        "compacted": _patched(whole, HEADER_OFFSET + 8, 1 << 63 | components),
        "cut-off": whole[: KVM_XSAVE_SIZE - 1],
    }
    return tuple(
        _literal(f"xsave-{name}", PLAIN, SetXsaveLiteral(image), RunUntilHalt())
        for name, image in variants.items()
    )


def _image_size(host: HostProfile) -> int:
    return host.uabi_size(host.default_permission)


def _with_xstate_bv(image: bytes, xstate_bv: int) -> bytes:
    return _patched(image, HEADER_OFFSET, xstate_bv)


def _patched(image: bytes, offset: int, value: int) -> bytes:
    return image[:offset] + value.to_bytes(8, "little") + image[offset + 8 :]


def _msrs() -> tuple[Scenario, ...]:
    # MISC_ENABLE, ARCH_CAPABILITIES, STAR, TSC_AUX, one that no CPU has; then one that is judged.
    values = ((0x1A0, 1), (0x10A, 0), (0xC000_0081, 0x23 << 48), (0xC000_0103, 7), (0x1234_5678, 1))
    pat = SetMsrs(((Msr.IA32_PAT, 0x0606_0606_0606_0606),))
    return (_literal("msrs", PLAIN, *(SetUnknownMsr(*value) for value in values), pat),)


def _sregs(host: HostProfile) -> tuple[Scenario, ...]:
    supported = table(host, Table.NO_AMX)
    if not supported.has(*LONG_MODE):
        return ()
    no_execute = EFER_NX if supported.has(*NX) else 0
    cr0 = Cr0.PG | Cr0.WP | 0x20 | Cr0.ET | Cr0.MP | Cr0.PE
    long_mode = {
        "cr0": cr0,
        "cr3": 0x1000,
        "cr4": Cr4.PAE.bit | Cr4.PGE.bit | Cr4.OSFXSR.bit | Cr4.OSXSAVE.bit,
        "efer": EFER_SCE | EFER_LME | EFER_LMA | no_execute,
        "apic_base": 0xFEE0_0900,
        "cs.selector": 0x10,
    }
    given = SetSregsLiteral(sregs_bytes(ioctls.KVM_SREGS, {**long_mode, "cr2": 0x2000}))
    other = SetSregs2Literal(sregs_bytes(ioctls.KVM_SREGS2, {**long_mode, "cr2": 0x3000}))
    refused = (
        {**long_mode, "cr4": Cr4.OSFXSR.bit},
        {**long_mode, "efer": EFER_LME},
        {**long_mode, "efer": 0, "cs.l": 1},
        {**long_mode, "cr4": long_mode["cr4"] | 1 << 63},
    )
    bad = (SetSregsLiteral(sregs_bytes(ioctls.KVM_SREGS, values)) for values in refused)
    return (
        _literal("sregs", PLAIN, given, other, given),
        _literal("sregs-refused", PLAIN, given, *bad),
        _literal("sregs-then-kept", PLAIN, GetSregs(), given, GetSregs(), SetSregs(0x6A0)),
    )


def sregs_bytes(layout: Layout, values: Mapping[str, int]) -> bytes:
    """Return ``struct kvm_sregs`` or ``kvm_sregs2`` of members by their paths; others are 0."""
    content = bytearray(layout.size)
    for path, value in values.items():
        struct.pack_into(f"={layout.format(path)}", content, layout.offset(path), value)
    return bytes(content)
