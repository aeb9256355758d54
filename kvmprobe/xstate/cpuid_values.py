"""Values with names in a vCPU's CPUID table: those that follow its registers, and XCR0."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.xstate.cpuid import LEAF_FEATURES, LEAF_XSTATE, OSXSAVE_BIT

if TYPE_CHECKING:
    from kvmprobe.xstate.cpuid import CpuidTable

XCR0_FIELD = "0xD.0:EDX:EAX"
IN_USE_FIELD, COMPACTED_FIELD = "0xD.0:EBX", "0xD.1:EBX"
OSXSAVE_FIELD = "1:ECX.OSXSAVE"


def named_values(table: CpuidTable) -> dict[str, int]:
    """Return the values of the entries that a table has.

    :see: SDM vol.2 "CPUID—CPU Identification", leaves 01H and 0DH
    """
    xstate, second = table.find(LEAF_XSTATE, 0), table.find(LEAF_XSTATE, 1)
    features = table.find(LEAF_FEATURES, 0)
    values: dict[str, int] = {}
    if xstate:
        values |= {XCR0_FIELD: table.xcr0, IN_USE_FIELD: xstate.ebx}
    if second:
        values[COMPACTED_FIELD] = second.ebx
    if features:
        values[OSXSAVE_FIELD] = features.ecx >> OSXSAVE_BIT & 1
    return values
