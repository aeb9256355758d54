"""The facts about one CPU, kernel and KVM that the model starts from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmprobe.xstate.features import DYNAMIC, FPSSE, XFeature
from kvmprobe.xstate.layout import KVM_XSAVE_SIZE, Component, Layout

if TYPE_CHECKING:
    from kvmprobe.model.behaviours import Behaviours


@dataclass(frozen=True, slots=True)
class HostProfile:
    """Bitmaps of components, their places, and named behaviours of one host.

    :ivar user_features: what ARCH_GET_XCOMP_SUPP returns
    :ivar kvm_xcr0: what KVM can give guests (KVM_X86_XCOMP_GUEST_SUPP), whatever the permission
    :ivar mxcsr_mask: legal bits of MXCSR (FXSAVE bytes 28-31)
    :ivar layout: places of all components in ``user_features``
    """

    user_features: int
    kvm_xcr0: int
    mxcsr_mask: int
    layout: Layout
    behaviours: Behaviours = frozenset()

    @property
    def default_permission(self) -> int:
        """Permission of a freshly exec'ed image, host's and guest's (xstate.rst)."""
        return self.user_features & ~DYNAMIC

    @property
    def amx(self) -> bool:
        """Whether KVM can give guests XTILE_DATA here."""
        return bool(self.kvm_xcr0 & XFeature.XTILE_DATA.bit)

    def uabi_size(self, components: int) -> int:
        """Bytes of the uabi image for ``components``: never below ``struct kvm_xsave``."""
        return max(KVM_XSAVE_SIZE, self.layout.size(components | FPSSE))


def sapphire_rapids() -> HostProfile:
    """Return the profile of a Sapphire Rapids host, for listing scenarios without one at hand.

    :see: SDM vol.1 §13.5 "XSAVE-Enabled Features"; CPUID 0xD of that processor
    """
    places = (
        (XFeature.YMM, 576, 256),
        (XFeature.OPMASK, 1088, 64),
        (XFeature.ZMM_HI256, 1152, 512),
        (XFeature.HI16_ZMM, 1664, 1024),
        (XFeature.PKRU, 2688, 8),
        (XFeature.XTILE_CFG, 2752, 64),
        (XFeature.XTILE_DATA, 2816, 8192),
    )
    layout = Layout.of(Component(*place) for place in places)
    return HostProfile(layout.bitmap, layout.bitmap, mxcsr_mask=0xFFFF, layout=layout)
