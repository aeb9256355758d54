"""The state that the model keeps: one host process, its VM, its vCPUs."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from kvmprobe.errors import ModelBug
from kvmprobe.xstate.image import MXCSR_INIT
from kvmprobe.xstate.layout import KVM_XSAVE_SIZE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from kvmprobe.model.host import HostProfile


@dataclass(frozen=True, slots=True)
class GuestCpuid:
    """What the guest's CPUID table says of XSTATE: 0xD.0:EDX:EAX."""

    xcr0: int


@dataclass(frozen=True, slots=True)
class Vcpu:
    """One vCPU's registers and guest fpstate.

    :ivar cpuid: None before the first KVM_SET_CPUID2
    :ivar guest_xcr0: ``guest_supported_xcr0``
    :ivar user_xfeatures: components that user space may set in this fpstate
    :ivar uabi_size: bytes that GET_XSAVE2 and SET_XSAVE move
    :ivar xstate_bv: XSTATE_BV in memory, where it is certain
    :ivar xstate_bv_open: bits of it that may be 0 or 1; their content is INIT then (PKRU aside)
    :ivar contents: bytes of each component in ``xstate_bv``
    :ivar ran: the guest has been entered at least once
    :ivar saved: hardware, not user space, wrote the fpstate last
    """

    user_xfeatures: int
    mxcsr_mask: int
    cpuid: GuestCpuid | None = None
    guest_xcr0: int = 0
    uabi_size: int = KVM_XSAVE_SIZE
    xstate_bv: int = 0
    xstate_bv_open: int = 0
    contents: Mapping[int, bytes] = field(default_factory=dict)
    mxcsr: int = MXCSR_INIT
    pkru: int = 0
    xcr0: int = 1
    xfd: int = 0
    xfd_err: int = 0
    ran: bool = False
    saved: bool = False

    def but(self, **changes: Any) -> Vcpu:  # noqa: ANN401 - fields of any type
        """Return this vCPU with some fields changed."""
        return replace(self, **changes)

    @property
    def next_load_faults(self) -> int:
        """Components for which the next guest-FPU load raises #NM in the host: XSTATE_BV & XFD.

        :see: SDM vol.1 §13.14 "Extended Feature Disable (XFD)"
        """
        return self.xstate_bv & self.xfd


@dataclass(frozen=True, slots=True)
class Machine:
    """One process that has asked for guest permission, opened /dev/kvm and created vCPUs.

    :ivar guest_perm: bitmap that ARCH_GET_XCOMP_GUEST_PERM returns
    :ivar perm_locked: a vCPU has been created: guest_perm is frozen
    :ivar captured: outputs that later calls refer to
    """

    host: HostProfile
    guest_perm: int
    perm_locked: bool = False
    vcpus: Mapping[str, Vcpu] = field(default_factory=dict)
    captured: Mapping[str, GuestCpuid] = field(default_factory=dict)

    @classmethod
    def fresh(cls, host: HostProfile) -> Machine:
        """Return the state of a freshly exec'ed process."""
        return cls(host=host, guest_perm=host.default_permission)

    def vcpu(self, name: str) -> Vcpu:
        """Return a vCPU that exists."""
        if name not in self.vcpus:
            raise ModelBug(f"no vCPU {name!r}; the scenario never created it")
        return self.vcpus[name]

    def with_vcpu(self, name: str, vcpu: Vcpu) -> Machine:
        """Return the machine with one vCPU added or replaced."""
        return replace(self, vcpus={**self.vcpus, name: vcpu})

    def but(self, **changes: Any) -> Machine:  # noqa: ANN401 - fields of any type
        """Return this machine with some fields changed."""
        return replace(self, **changes)
