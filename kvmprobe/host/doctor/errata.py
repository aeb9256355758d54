"""Processor errata that look like a kernel bug: the processor itself loses FPU state.

Each erratum names its source.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmprobe.host.doctor.advice import Advice, fine, worth_knowing

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

INTEL, AMD = "GenuineIntel", "AuthenticAMD"


@dataclass(frozen=True, slots=True)
class Processor:
    """Vendor, and the fields of CPUID.1:EAX.

    :see: SDM vol.2 CPUID, "Version Information Returned by CPUID in EAX"
    """

    vendor: str
    family: int
    model: int
    stepping: int

    @classmethod
    def of(cls, vendor: str, signature: int) -> Processor:
        """Decode CPUID.1:EAX; family and model include the extended fields."""
        family = signature >> 8 & 0xF
        model = signature >> 4 & 0xF
        if family in {6, 15}:
            model |= signature >> 12 & 0xF0
        if family == 15:
            family += signature >> 20 & 0xFF
        return cls(vendor, family, model, signature & 0xF)

    def __str__(self) -> str:
        return f"{self.vendor} {self.family:#x}-{self.model:#x}-{self.stepping:#x}"


@dataclass(frozen=True, slots=True)
class Erratum:
    """An erratum and its source.

    :ivar models: affected models of the family
    :ivar fixed: (first model, last model, stepping or None for all, first microcode revision with
        the fix); models that are not listed have no fix
    """

    name: str
    vendor: str
    family: int
    models: tuple[range, ...]
    effect: str
    source: str
    fixed: tuple[tuple[int, int, int | None, int], ...] = ()

    def affects(self, processor: Processor, microcode: int | None) -> bool:
        """Return True if a processor has it; ``microcode`` is None for an unknown revision."""
        if (processor.vendor, processor.family) != (self.vendor, self.family):
            return False
        if not any(processor.model in models for models in self.models):
            return False
        return not any(
            first <= processor.model <= last
            and stepping in {None, processor.stepping}
            and microcode is not None
            and microcode >= revision
            for first, last, stepping, revision in self.fixed
        )


_STALE_AVX_EFFECT = (
    "after XRSTORS of SSE or AVX state in INIT, and ZMM_Hi256 in use, XSAVES to the same area may "
    "set XSTATE_BV[2:1] and leave older bytes there, which become the guest's state"
)
ERRATA = (
    Erratum(
        "SPR4",
        INTEL,
        6,
        (range(0x8F, 0x90),),
        "a VM exit during XSAVE may store zeros for AMX state, so a correct kernel loses tiles",
        "as OpenZFS describes it in pull request 15168, for issue 14989",
    ),
    Erratum(
        "1386",
        AMD,
        0x17,
        (range(0x100),),
        "XSAVES may not save XMM registers: XRSTORS then restores older values",
        "AMD revision guide 56323; Linux commits b0563468eeac and 29ba89f18952, amd.c: "
        "fix_erratum_1386",
        # arch/x86/kernel/cpu/amd.c: erratum_1386_microcode.
        ((0x01, 0x01, 0x2, 0x0800126E), (0x31, 0x31, 0x0, 0x08301052)),
    ),
    # The models that it was seen on; the model of the kernel expects it of all with AVX-512.
    Erratum(
        "stale AVX state",
        AMD,
        0x19,
        (range(0x11, 0x12),),
        _STALE_AVX_EFFECT,
        "no publication known; in user space, in a VM: 294 of 100,000 XSAVEOPT some microseconds "
        "after XRSTOR of such an image, none of 100,000 XSAVE",
    ),
    Erratum(
        "stale AVX state",
        AMD,
        0x1A,
        (range(0x02, 0x03),),
        _STALE_AVX_EFFECT,
        "no publication known; in user space, in a VM: AVX state in 3 of 20,000 XSAVEOPT some "
        "microseconds after XRSTOR of such an image, none of 20,000 XSAVE",
    ),
    Erratum(
        "Zenbleed",
        AMD,
        0x17,
        # The models in commit 522b1d69219d.
        (range(0x30, 0x50), range(0x60, 0x80), range(0x90, 0x92), range(0xA0, 0xB0)),
        "vector registers may have values of another context (CVE-2023-20593); Linux sets a "
        "chicken bit if the microcode has no fix",
        "Linux commits 522b1d69219d and 5c84b051bd4e, amd.c: cpu_has_zenbleed_microcode",
        (
            (0x30, 0x3F, None, 0x0830107B),
            (0x60, 0x67, None, 0x0860010C),
            (0x68, 0x6F, None, 0x08608107),
            (0x70, 0x7F, None, 0x08701033),
            (0xA0, 0xAF, None, 0x08A00009),
        ),
    ),
)
# In /proc/cpuinfo, arch/x86/include/asm/cpufeatures.h: X86_BUG_FXSAVE_LEAK.
_FXSAVE_LEAK = "fxsave_leak"
_FXSAVE_LEAK_EFFECT = (
    "FXSAVE and XSAVE do not store FOP, FIP and FDP unless an x87 exception is pending "
    "(X86_BUG_FXSAVE_LEAK)"
)


def errata(facts: Mapping[str, Any]) -> tuple[Advice, ...]:
    """Return a finding for each erratum of this host's processor.

    :param facts: what the worker reports of this host
    """
    cpu, environment = facts["cpu"], facts["environment"]
    processor = Processor.of(cpu["vendor"], cpu["signature"])
    microcode = _oldest(environment["cpu"]["microcode"])
    virtual = environment["machine"]["hypervisor"]["bit"]
    found = [
        worth_knowing(
            "errata",
            f"erratum {erratum.name}: {erratum.effect} ({erratum.source})",
            "update the microcode, or reproduce failures on another processor",
        )
        for erratum in ERRATA
        if erratum.affects(processor, microcode)
    ]
    if _FXSAVE_LEAK in environment["cpu"]["bugs"]:
        found.append(worth_knowing("errata", _FXSAVE_LEAK_EFFECT))
    if found:
        return tuple(found)
    finding = f"kvmprobe knows no erratum of {processor} that looks like a kernel bug"
    if virtual:
        caveat = "CPUID comes from the hypervisor and may not be the real processor's"
        return (worth_knowing("errata", f"{finding}; {caveat}"),)
    return (fine("errata", finding),)


def _oldest(revisions: list[str]) -> int | None:
    numbers = [int(text, 0) for text in revisions if text.startswith("0x")]
    return min(numbers) if numbers else None
