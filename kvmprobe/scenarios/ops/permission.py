"""Asking for permission to give guests a dynamic component."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmprobe.abi.numbers import ArchPrctlCode
from kvmprobe.model import permission
from kvmprobe.scenarios.calls import ArchPrctl, Call
from kvmprobe.scenarios.ops._base import Op, op

if TYPE_CHECKING:
    from kvmprobe.model.host import HostProfile
    from kvmprobe.model.machine import Machine
    from kvmprobe.model.outcome import Step


@op(
    "req-guest-perm",
    "ARCH_REQ_XCOMP_GUEST_PERM",
    "Documentation/arch/x86/xstate.rst",
    "arch/x86/kernel/fpu/xstate.c: xstate_request_perm",
    errnos={
        "EINVAL": "no component has that number",
        "EOPNOTSUPP": "not a dynamic component, or not on this host",
        "EBUSY": "the process has created a vCPU",
    },
)
@dataclass(frozen=True, slots=True)
class RequestGuestPermission(Op):
    """Ask for guest permission for one feature number."""

    feature_nr: int

    def lower(self, host: HostProfile) -> Call:  # noqa: ARG002
        """Lower to arch_prctl(2)."""
        return ArchPrctl(ArchPrctlCode.REQ_XCOMP_GUEST_PERM, self.feature_nr)

    def step(self, machine: Machine) -> Step:
        """Grant it, or refuse."""
        return permission.request_guest_permission(machine, self.feature_nr)

    @property
    def text(self) -> str:
        """Name the feature."""
        return f"{self.kernel_call}({self.feature_nr})"
