"""Host profiles, and states of the model to start from."""

from __future__ import annotations

import struct
from dataclasses import replace

from kvmprobe.model import guest_cpuid, lifecycle, permission
from kvmprobe.model.fpstate import Fpstate
from kvmprobe.model.host import HostProfile
from kvmprobe.model.machine import GuestCpuid, Machine
from kvmprobe.model.sapphire_rapids import sapphire_rapids
from kvmprobe.xstate.cpuid import CpuidEntry, CpuidTable
from kvmprobe.xstate.image import XsaveFields, encode
from kvmprobe.xstate.layout import Component, Layout

B0, B1, B2, B9, B17, B18 = (1 << nr for nr in (0, 1, 2, 9, 17, 18))
TILES = B17 | B18

# Offsets and sizes of the standard format on Sapphire Rapids, as CPUID leaf 0xD gives them.
YMM = Component(2, 576, 256)
OPMASK = Component(5, 1088, 64)
ZMM_HI256 = Component(6, 1152, 512)
HI16_ZMM = Component(7, 1664, 1024)
PKRU = Component(9, 2688, 8)
XTILE_CFG = Component(17, 2752, 64)
XTILE_DATA = Component(18, 2816, 8192)

AMX_LAYOUT = Layout((YMM, OPMASK, ZMM_HI256, HI16_ZMM, PKRU, XTILE_CFG, XTILE_DATA))
_SPR = sapphire_rapids()
AMX_HOST = HostProfile(
    user_features=0x602E7,
    kvm_xcr0=0x602E7,
    mxcsr_mask=0xFFFF,
    layout=AMX_LAYOUT,
    behaviours=frozenset(),
    cpu=_SPR.cpu,
    supported=_SPR.supported,
    msrs=_SPR.msrs,
)


def _without_amx(entry):
    """A leaf of a CPU whose XCR0 is 0xe7: no PKU, no AMX, no XFD."""
    match entry.leaf, entry.subleaf:
        case 0xD, 0:
            return entry._replace(eax=0xE7, ebx=2688, ecx=2688)
        case 0xD, 1:
            return entry._replace(eax=0b1111, ebx=2432)
        case 0x7, 0:
            return entry._replace(ecx=0, edx=0)
        case 0x1D | 0x1E, _:
            return entry._replace(eax=0, ebx=0, ecx=0)
        case _:
            return entry


_AVX512_TABLE = CpuidTable(
    tuple(
        _without_amx(e)
        for e in _SPR.cpu.entries
        if not (e.leaf == 0xD and e.subleaf in {9, 17, 18})
    )
)
AVX512_HOST = HostProfile(
    user_features=0xE7,
    kvm_xcr0=0xE7,
    mxcsr_mask=0x2FFFF,
    layout=Layout((YMM, OPMASK, ZMM_HI256, HI16_ZMM)),
    behaviours=frozenset(),
    cpu=_AVX512_TABLE,
    supported=_AVX512_TABLE,
    msrs=frozenset(),
)
# CPUID.0:EBX, ECX, EDX: "AuthenticAMD".
_AMD_VENDOR = CpuidEntry(0, 0, 0, 0xD, 0x68747541, 0x444D4163, 0x69746E65)
AMD_HOST = replace(AVX512_HOST, supported=CpuidTable((_AMD_VENDOR, *_AVX512_TABLE.entries)))
PROFILES = {"amx": AMX_HOST, "avx512": AVX512_HOST}

VCPU = "vcpu0"
TABLE = "table"


def with_behaviours(host, *behaviours):
    return replace(host, behaviours=frozenset(behaviours))


# Size in bytes; 0xD.n:ECX bit 0: the component is enabled in IA32_XSS.
_CET_PLACES = (
    CpuidEntry(0xD, 11, 1, 16, 0, 1, 0),
    CpuidEntry(0xD, 12, 1, 24, 0, 1, 0),
)


def cet_host(*behaviours, shstk=True, ibt=False, la57=False):
    """A host whose KVM lists XSS and CET MSRs, and offers both CET components and XSAVES."""
    tables = []
    for table in (AMX_HOST.cpu, AMX_HOST.supported):
        entries = sorted([*table.entries, *_CET_PLACES], key=lambda entry: entry[:2])
        features = table.at(7, 0)
        ecx = features.ecx | shstk << 7 | la57 << 16
        tables.append(
            CpuidTable(tuple(entries))
            .replaced(0xD, 1, eax=0b11111, ecx=0x1800)
            .replaced(7, 0, ecx=ecx, edx=features.edx | ibt << 20)
        )
    cpu, supported = tables
    msrs = AMX_HOST.msrs | {0xDA0, 0x6A0, 0x6A2, *range(0x6A4, 0x6A9)}
    host = replace(AMX_HOST, cpu=cpu, supported=supported, msrs=msrs)
    return with_behaviours(host, *behaviours)


def machine_with_vcpu(host=AMX_HOST, *, granted=False, cpuid_xcr0=None):
    """A process with one vCPU; ``cpuid_xcr0`` is its leaf 0xD, None for no table."""
    machine = Machine.fresh(host)
    if granted:
        machine = permission.request_guest_permission(machine, 18).machine
    machine = lifecycle.create_vcpu(machine, VCPU).machine
    if cpuid_xcr0 is not None:
        machine = set_cpuid(machine, cpuid_xcr0).machine
    return machine


def amx_vcpu(*behaviours):
    """A vCPU whose guest has all that the AMX host offers."""
    return machine_with_vcpu(
        with_behaviours(AMX_HOST, *behaviours), granted=True, cpuid_xcr0=0x602E7
    )


def set_cpuid(machine, xcr0):
    captured = {**machine.captured, TABLE: GuestCpuid(xcr0)}
    return guest_cpuid.set_cpuid2(machine._replace(captured=captured), VCPU, GuestCpuid(xcr0))


def image(xstate_bv, contents=None, *, host=AMX_HOST, size=11008, **fields):
    """A uabi image; MXCSR_MASK is the host's unless given."""
    fields.setdefault("mxcsr_mask", host.mxcsr_mask)
    return encode(
        XsaveFields(xstate_bv=xstate_bv, contents=contents or {}, **fields), host.layout, size
    )


def xstate_bv(uabi_image):
    """XSTATE_BV: SDM vol.1 13.4.2, bytes 7:0 of the header, which begins at 512."""
    return struct.unpack_from("<Q", uabi_image, 512)[0]


def mxcsr(uabi_image):
    """MXCSR: SDM vol.1 table 10-2, byte 24 of the legacy region."""
    return struct.unpack_from("<I", uabi_image, 24)[0]


def with_fields(machine, **fields):
    """The machine with some fields of its vCPU or of the vCPU's fpstate changed."""
    vcpu = machine.vcpu(VCPU)
    held = {name: fields.pop(name) for name in Fpstate._fields if name in fields}
    changed = vcpu._replace(fpstate=vcpu.fpstate._replace(**held), **fields)
    return machine.with_vcpu(VCPU, changed)
