"""The facts about one CPU, kernel and KVM that the model starts from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmprobe.xstate.cpuid import EMPTY_TABLE
from kvmprobe.xstate.features import DYNAMIC, FPSSE, XFeature
from kvmprobe.xstate.layout import KVM_XSAVE_SIZE, Layout

if TYPE_CHECKING:
    from kvmprobe.model.behaviours import Behaviours
    from kvmprobe.xstate.cpuid import CpuidTable


@dataclass(frozen=True, slots=True)
class HostProfile:
    """Bitmaps of components, their places, and named behaviours of one host.

    :ivar user_features: what ARCH_GET_XCOMP_SUPP returns
    :ivar kvm_xcr0: what KVM can give guests (KVM_X86_XCOMP_GUEST_SUPP), whatever the permission
    :ivar mxcsr_mask: legal bits of MXCSR (FXSAVE bytes 28-31)
    :ivar layout: places of all components in ``user_features``
    :ivar cpu: the host's own CPUID leaves 1, 7, 0xD, 0x1D, 0x1E
    :ivar supported: what KVM_GET_SUPPORTED_CPUID returns, all permissions granted
    :ivar msrs: what KVM_GET_MSR_INDEX_LIST returns
    """

    user_features: int
    kvm_xcr0: int
    mxcsr_mask: int
    layout: Layout
    behaviours: Behaviours = frozenset()
    cpu: CpuidTable = EMPTY_TABLE
    supported: CpuidTable = EMPTY_TABLE
    msrs: frozenset[int] = frozenset()

    @property
    def default_permission(self) -> int:
        """Permission of a freshly exec'ed image, host's and guest's (xstate.rst)."""
        return self.user_features & ~DYNAMIC

    @property
    def kvm_xss(self) -> int:
        """Supervisor components that KVM can give guests: those it advertises."""
        return self.supported.xss

    @property
    def amx(self) -> bool:
        """Whether KVM can give guests XTILE_DATA here."""
        return bool(self.kvm_xcr0 & XFeature.XTILE_DATA.bit)

    def uabi_size(self, components: int) -> int:
        """Bytes of the uabi image for ``components``: never below ``struct kvm_xsave``."""
        return max(KVM_XSAVE_SIZE, self.layout.size(components | FPSSE))
