"""The layout of a CPU's state components, from its CPUID table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.xstate.cpuid import LEAF_XSTATE
from kvmprobe.xstate.features import FPSSE, numbers
from kvmprobe.xstate.layout import Component, Layout

if TYPE_CHECKING:
    from kvmprobe.xstate.cpuid import CpuidTable


def layout_of(table: CpuidTable) -> Layout:
    """Return the standard-format layout of the user components that leaf 0xD enumerates.

    :raises LayoutError: components overlap, or one has no sub-leaf
    :see: SDM vol.1 §13.4.3 "Extended Region of an XSAVE Area"; vol.2 CPUID, leaf 0DH

    >>> leaf_d = CpuidEntry(0xD, 0, 1, eax=0x7, ebx=832, ecx=832, edx=0)
    >>> ymm = CpuidEntry(0xD, 2, 1, eax=256, ebx=576, ecx=0, edx=0)
    >>> layout_of(CpuidTable((leaf_d, ymm))).component(XFeature.YMM)
    Component(nr=2, offset=576, size=256)
    """
    places = ((nr, table.at(LEAF_XSTATE, nr)) for nr in numbers(table.xcr0 & ~FPSSE))
    return Layout.of(Component(nr, place.ebx, place.eax) for nr, place in places)
