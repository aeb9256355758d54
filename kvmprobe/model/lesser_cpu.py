"""Host profiles as they would be on a processor without some features.

The names are those of the emulated host's processors (``lab/cpu_profile.py``).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from kvmprobe.abi.numbers import Msr
from kvmprobe.model import cet
from kvmprobe.model.behaviours import Behaviour
from kvmprobe.xstate.cpuid import (
    LEAF_XSTATE,
    OSPKE_BIT,
    XSAVEC_BIT,
    XSAVEOPT_BIT,
    CpuidEntry,
    CpuidTable,
    Register,
)
from kvmprobe.xstate.features import AVX512, CET, DYNAMIC, XTILE, XFeature
from kvmprobe.xstate.gated import GATED
from kvmprobe.xstate.layout import Layout

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kvmprobe.model.host import HostProfile
    from kvmprobe.xstate.gated import Place

_PKS_BIT = 31


@dataclass(frozen=True, slots=True)
class _Lack:
    """What a processor lacks.

    :ivar components: state components, and with them the features that need them
    :ivar bits: further bits of CPUID, by register
    """

    components: int = 0
    bits: Mapping[Place, int] = field(default_factory=dict)
    msrs: frozenset[int] = frozenset()
    behaviours: frozenset[Behaviour] = frozenset()

    def __or__(self, other: _Lack) -> _Lack:
        return _Lack(
            self.components | other.components,
            {**self.bits, **other.bits},
            self.msrs | other.msrs,
            self.behaviours | other.behaviours,
        )

    def cleared(self) -> Mapping[Place, int]:
        """Return the bits of CPUID that are 0, by register."""
        found = Counter(self.bits)
        for components, gated in GATED.items():
            if components & self.components:
                for leaf, subleaf, register, bits in gated:
                    found[leaf, subleaf, register] |= bits
        return found


_NO_AMX = _Lack(XTILE, msrs=frozenset({Msr.IA32_XFD, Msr.IA32_XFD_ERR}))
_NO_CET = _Lack(CET, msrs=cet.MSRS | {Msr.IA32_XSS})
_LACKING: Mapping[str, _Lack] = {
    "no-amx": _NO_AMX,
    "no-avx512": _Lack(AVX512) | _NO_AMX,
    "no-cet": _NO_CET,
    "no-pku": _Lack(XFeature.PKRU.bit, {(7, 0, Register.ECX): 1 << OSPKE_BIT | 1 << _PKS_BIT}),
    "no-xsaves": _NO_AMX
    | _NO_CET
    | _Lack(
        bits={(LEAF_XSTATE, 1, Register.EAX): ~(1 << XSAVEOPT_BIT)},
        behaviours=frozenset({Behaviour.STANDARD_FORMAT}),
    ),
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
    cleared = lack.cleared()
    for entry in table.entries:
        leaf, subleaf = entry.leaf, entry.subleaf
        left = {r: getattr(entry, r) & ~cleared.get((leaf, subleaf, r), 0) for r in Register}
        kept = entry._replace(**left)
        match leaf, subleaf:
            case 0xD, 0:
                size = layout.size(layout.bitmap)
                components = kept.eax & ~lack.components
                yield kept._replace(eax=components, ebx=min(kept.ebx, size), ecx=size)
            case 0xD, 1:
                compacted = kept.ebx if kept.eax >> XSAVEC_BIT & 1 else 0
                yield kept._replace(ebx=compacted, ecx=kept.ecx & ~lack.components)
            case 0xD, _ if lack.components >> subleaf & 1:
                continue
            case 0x1D | 0x1E, _ if lack.components & DYNAMIC:
                yield kept._replace(eax=0, ebx=0, ecx=0, edx=0)
            case _:
                yield kept
