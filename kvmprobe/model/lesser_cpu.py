"""Host profiles as they would be on a processor without some features.

The names are those of the emulated host's processors (``lab/cpu_profile.py``).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from kvmprobe.abi.numbers import Msr
from kvmprobe.model import cet
from kvmprobe.model.behaviours import Behaviour
from kvmprobe.xstate.cpuid import (
    AMX_FEATURES,
    IBT_BIT,
    OSPKE_BIT,
    PKU_BIT,
    SHSTK_BIT,
    XFD_BIT,
    XSAVEC_BIT,
    XSAVEOPT_BIT,
    CpuidEntry,
    CpuidTable,
)
from kvmprobe.xstate.features import AVX512, CET, DYNAMIC, XTILE, XFeature
from kvmprobe.xstate.layout import Layout

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kvmprobe.model.host import HostProfile

_PKS_BIT = 31
# SDM vol.2 CPUID, leaf 07H: the features whose names begin with AVX512.
_AVX512_EBX = 1 << 16 | 1 << 17 | 1 << 21 | 1 << 28 | 1 << 30 | 1 << 31
_AVX512_ECX = 1 << 1 | 1 << 6 | 1 << 11 | 1 << 12 | 1 << 14
_AVX512_EDX = 1 << 2 | 1 << 3 | 1 << 8 | 1 << 23


@dataclass(frozen=True, slots=True)
class _Lack:
    """What a processor lacks.

    :ivar components: state components
    :ivar leaf_7: bits of 07H.0:EBX, ECX and EDX
    :ivar leaf_xstate: bits of 0DH.1:EAX
    """

    components: int = 0
    leaf_7: tuple[int, int, int] = (0, 0, 0)
    leaf_xstate: int = 0
    msrs: frozenset[int] = frozenset()
    behaviours: frozenset[Behaviour] = frozenset()

    def __or__(self, other: _Lack) -> _Lack:
        ebx, ecx, edx = (a | b for a, b in zip(self.leaf_7, other.leaf_7, strict=True))
        return _Lack(
            self.components | other.components,
            (ebx, ecx, edx),
            self.leaf_xstate | other.leaf_xstate,
            self.msrs | other.msrs,
            self.behaviours | other.behaviours,
        )


_NO_AMX = _Lack(
    XTILE,
    (0, 0, AMX_FEATURES),
    1 << XFD_BIT,
    frozenset({Msr.IA32_XFD, Msr.IA32_XFD_ERR}),
)
_NO_AVX512 = _Lack(AVX512, (_AVX512_EBX, _AVX512_ECX, _AVX512_EDX))
_NO_CET = _Lack(CET, (0, 1 << SHSTK_BIT, 1 << IBT_BIT), msrs=cet.MSRS | {Msr.IA32_XSS})
_LACKING: Mapping[str, _Lack] = {
    "no-amx": _NO_AMX,
    "no-avx512": _NO_AVX512 | _NO_AMX,
    "no-cet": _NO_CET,
    "no-pku": _Lack(XFeature.PKRU.bit, (0, 1 << PKU_BIT | 1 << OSPKE_BIT | 1 << _PKS_BIT, 0)),
    "no-xsaves": _NO_AMX
    | _NO_CET
    | _Lack(leaf_xstate=~(1 << XSAVEOPT_BIT), behaviours=frozenset({Behaviour.STANDARD_FORMAT})),
}
NAMES = tuple(_LACKING)


def on_lesser_cpu(host: HostProfile, name: str) -> HostProfile:
    """Return a host's profile with a processor that lacks what the name says.

    :param name: one of NAMES
    :see: SDM vol.2 CPUID, leaves 07H, 0DH, 1DH, 1EH
    """
    lack = _LACKING[name]
    components = (c for c in host.layout.components if not lack.components >> c.nr & 1)
    layout = Layout.of(components)
    return replace(
        host,
        user_features=host.user_features & ~lack.components,
        kvm_xcr0=host.kvm_xcr0 & ~lack.components,
        layout=layout,
        behaviours=host.behaviours | lack.behaviours,
        cpu=CpuidTable(tuple(_entries(host.cpu, lack, layout))),
        supported=CpuidTable(tuple(_entries(host.supported, lack, layout))),
        msrs=host.msrs - lack.msrs,
    )


def _entries(table: CpuidTable, lack: _Lack, layout: Layout) -> Iterator[CpuidEntry]:
    for entry in table.entries:
        match entry.leaf, entry.subleaf:
            case 0x7, 0:
                ebx, ecx, edx = lack.leaf_7
                yield entry._replace(
                    ebx=entry.ebx & ~ebx, ecx=entry.ecx & ~ecx, edx=entry.edx & ~edx
                )
            case 0xD, 0:
                size = layout.size(layout.bitmap)
                left = entry.eax & ~lack.components
                yield entry._replace(eax=left, ebx=min(entry.ebx, size), ecx=size)
            case 0xD, 1:
                left = entry.eax & ~lack.leaf_xstate
                compacted = entry.ebx if left >> XSAVEC_BIT & 1 else 0
                yield entry._replace(eax=left, ebx=compacted, ecx=entry.ecx & ~lack.components)
            case 0xD, subleaf if lack.components >> subleaf & 1:
                continue
            case 0x1D | 0x1E, _ if lack.components & DYNAMIC:
                yield entry._replace(eax=0, ebx=0, ecx=0, edx=0)
            case _:
                yield entry
