"""Constants of a program that come from Python: by the kernel's names, where it has one."""

from __future__ import annotations

from kvmprobe.abi.c_constants import c_constants
from kvmprobe.abi.numbers import Msr
from kvmprobe.repro.ended import STATUSES
from kvmprobe.xstate.features import XFeature
from kvmprobe.xstate.layout import (
    HEADER_RESERVED,
    MXCSR,
    MXCSR_MASK,
    SOFTWARE_WORD,
    X87_REGISTERS,
    XCOMP_BV,
    XMM_REGISTERS,
    XSTATE_BV,
)

# Parts of a standard-format XSAVE image, by the name of their offset (SDM vol.1 13.4 "XSAVE Area").
REGIONS = {
    "XSAVE_FCW": range(2),
    "XSAVE_MXCSR": MXCSR,
    "XSAVE_MXCSR_MASK": MXCSR_MASK,
    "XSAVE_ST": X87_REGISTERS,
    "XSAVE_XMM": XMM_REGISTERS,
    "XSAVE_SOFTWARE": SOFTWARE_WORD,
    "XSAVE_XSTATE_BV": XSTATE_BV,
    "XSAVE_XCOMP_BV": XCOMP_BV,
    "XSAVE_RESERVED": HEADER_RESERVED,
}


def definitions() -> list[str]:
    """Return a ``#define`` line for each constant."""
    constants = {
        **c_constants(),
        **{f"XFEATURE_MASK_{feature.name}": f"(1ULL << {int(feature)})" for feature in XFeature},
        **{f"MSR_{msr.name}": f"{int(msr):#x}" for msr in Msr},
        **{name: str(span.start) for name, span in REGIONS.items()},
        **{result.name: str(status) for status, result in STATUSES.items()},
    }
    return [f"#define {name} {value}" for name, value in constants.items()]
