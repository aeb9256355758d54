"""The facts about one CPU, kernel and KVM that the model starts from.

All are required: the model would take a missing one for a feature that the host does not have.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from kvmprobe.model.behaviours import variants
from kvmprobe.model.feature import IBT, SHSTK
from kvmprobe.xstate.features import CET, DYNAMIC, FPSSE, XFeature
from kvmprobe.xstate.layout import KVM_XSAVE_SIZE, Layout

if TYPE_CHECKING:
    from kvmprobe.model.behaviours import Behaviours
    from kvmprobe.xstate.cpuid import CpuidTable


_AMD = b"AuthenticAMD"
# The vendors whose CPUs drop them, and those of which it is not known.
_MAY_DROP_POINTERS = {_AMD, b"HygonGenuine", b"CentaurHauls", b"  Shanghai  "}


@dataclass(frozen=True, slots=True)
class HostProfile:
    """Bitmaps of components, their offsets and sizes, and named behaviours of one host.

    ``kvmprobe.execution.running_host`` returns that of the running host.

    :ivar user_features: what ARCH_GET_XCOMP_SUPP returns
    :ivar kvm_xcr0: what KVM can give guests (KVM_X86_XCOMP_GUEST_SUPP), whatever the permission
    :ivar mxcsr_mask: legal bits of MXCSR (FXSAVE bytes 28-31)
    :ivar layout: offsets and sizes of all components in ``user_features``
    :ivar behaviours: variants and defects of its kernel; those that are not named are absent
    :ivar cpu: the host's own CPUID leaves 1, 7, 0xD, 0x1D, 0x1E
    :ivar supported: what KVM_GET_SUPPORTED_CPUID returns, all permissions granted
    :ivar msrs: what KVM_GET_MSR_INDEX_LIST returns
    """

    user_features: int
    kvm_xcr0: int
    mxcsr_mask: int
    layout: Layout
    behaviours: Behaviours
    cpu: CpuidTable
    supported: CpuidTable
    msrs: frozenset[int]

    @property
    def without_defects(self) -> HostProfile:
        """The host as it would be if its kernel had none of its defects."""
        return replace(self, behaviours=variants(self.behaviours))

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

    @property
    def cet(self) -> bool:
        """Whether KVM can give guests shadow stacks, IBT and both components of CET state."""
        supported = self.supported
        features = supported.has(*SHSTK) and supported.has(*IBT)
        return features and self.kvm_xss & CET == CET

    @property
    def keeps_x87_pointers(self) -> bool:
        """Whether a save by hardware keeps FOP, FIP and FDP without an exception pending.

        :see: SDM vol.1 §13.5.1 "x87 State"; AMD64 Architecture Programmer's Manual vol.5 FXSAVE
        """
        return self._vendor not in _MAY_DROP_POINTERS

    @property
    def may_leave_avx(self) -> bool:
        """Whether a save may leave older bytes where SSE and AVX state are INIT.

        It was seen on both families of AMD processors with AVX-512, 0x19 and 0x1a.

        :see: kvmprobe/model/freedom.py: AVX_LEFT
        """
        return self._vendor == _AMD and bool(self.user_features & XFeature.ZMM_HI256.bit)

    @property
    def _vendor(self) -> bytes:
        first = self.supported.at(0, 0)
        registers = (first.ebx, first.edx, first.ecx)
        return b"".join(register.to_bytes(4, "little") for register in registers)

    def uabi_size(self, components: int) -> int:
        """Bytes of the uabi image for ``components``: never below ``struct kvm_xsave``."""
        return max(KVM_XSAVE_SIZE, self.layout.size(components | FPSSE))
