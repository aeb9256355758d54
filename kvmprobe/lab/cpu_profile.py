"""The processors that the emulated host can have: models of the emulator without some features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kvmprobe.results.host_variant import HostVariant

MOST_PROCESSORS = 2
# The emulator ends with a panic at RSM if CR4.LA57 is set.
_ALWAYS_WITHOUT = ("la57",)
_AMX = ("amx", "amx_int8", "amx_bf16")
_AVX512 = (
    "avx512",
    "avx512dq",
    "avx512bw",
    "avx512cd",
    "avx512vbmi",
    "avx512vbmi2",
    "avx512ifma52",
    "avx512vpopcnt",
    "avx512vnni",
    "avx512bitalg",
    "avx512bf16",
    "avx512fp16",
)


@dataclass(frozen=True, slots=True)
class CpuProfile:
    """A processor.

    :ivar summary: what it lacks, for the help
    :ivar without: features to exclude, as ``bochs --help features`` names them
    :ivar model: the emulator's name of the model
    """

    summary: str
    without: tuple[str, ...] = ()
    model: str = "sapphire_rapids"

    @property
    def excluded(self) -> tuple[str, ...]:
        """All features that the emulator has to exclude."""
        return (*_ALWAYS_WITHOUT, *self.without)


DEFAULT_CPU = CpuProfile("a Sapphire Rapids")
# No processor has AMX or CET without XSAVES.  MPX: no model of Bochs 3.0 has it.
PROFILES = {
    "no-amx": CpuProfile("without AMX", _AMX),
    "no-avx512": CpuProfile("without AVX-512 and AMX, which needs it", _AVX512 + _AMX),
    "no-cet": CpuProfile("without shadow stacks and indirect branch tracking", ("cet",)),
    "no-pku": CpuProfile("without protection keys", ("pku", "pks")),
    "no-xsaves": CpuProfile(
        "without XSAVEC and XSAVES, and what needs them, CET and AMX",
        ("xsavec", "xsaves", "cet", *_AMX),
    ),
}


def profile_of(variant: HostVariant) -> CpuProfile:
    """Return the processor of a host.

    :raises KeyError: there is no such profile
    """
    return PROFILES[variant.cpu] if variant.cpu else DEFAULT_CPU
