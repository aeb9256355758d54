"""Values of a guest that every load and save must keep, beside those that it need not.

Tiles that are smaller than they could be, and x87 pointers that registers can have: each is next
to a value that the manuals leave open (model/freedom.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.model.guest_xsave import SaveForm
from kvmprobe.scenarios.catalog._guests import AVX, PLAIN, TILES, USE_XSAVE, scenario
from kvmprobe.scenarios.ops.guest_control import GuestXgetbv
from kvmprobe.scenarios.ops.guest_tiles import (
    Configuration,
    GuestLdtilecfg,
    GuestTileloadd,
    GuestTilestored,
)
from kvmprobe.scenarios.ops.guest_xsave import GuestFxsave, GuestXsave
from kvmprobe.scenarios.ops.xcrs import SetXcrs
from kvmprobe.scenarios.ops.xsave import SetXsaveImage
from kvmprobe.xstate.features import XTILE, XFeature
from kvmprobe.xstate.malformations import Malformation

if TYPE_CHECKING:
    from kvmprobe.scenarios.scenario import Scenario


def scenarios() -> tuple[Scenario, ...]:
    """Return those of the family ``guest``."""
    addresses = SetXsaveImage(XFeature.FP.bit, Malformation.X87_ADDRESSES)
    saves = (GuestFxsave(), GuestXsave(), GuestXsave(SaveForm.XSAVEC))
    return (
        scenario(
            "narrow-tiles-kept",
            TILES,
            (
                SetXcrs(AVX | XTILE),
                USE_XSAVE,
                GuestLdtilecfg(Configuration.NARROW),
                GuestTileloadd(0),
                GuestTileloadd(7),
                GuestTilestored(0),
                GuestTilestored(7),
            ),
        ),
        scenario(
            "x87-addresses-kept",
            PLAIN,
            (addresses, SetXcrs(AVX), USE_XSAVE, *saves, GuestXgetbv(1)),
        ),
    )
