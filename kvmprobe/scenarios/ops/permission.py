"""arch_prctl's XCOMP options: what is supported, permitted, and asking for permission."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from kvmprobe.abi.numbers import ArchPrctlCode
from kvmprobe.model import permission
from kvmprobe.scenarios.calls import MAIN, ArchPrctl, Call, Immediate, Output
from kvmprobe.scenarios.ops._base import Op, op
from kvmprobe.scenarios.ops.lifecycle import by_whom

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvmprobe.model.host import HostProfile
    from kvmprobe.model.machine import Machine
    from kvmprobe.model.outcome import Step

_BITMAP_SIZE = 8
_SOURCES = ("Documentation/arch/x86/xstate.rst", "arch/x86/kernel/fpu/xstate.c: fpu_xstate_prctl")


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
    by: str = MAIN

    def lower(self, host: HostProfile) -> Call:  # noqa: ARG002
        """Lower to arch_prctl(2)."""
        code = ArchPrctlCode.REQ_XCOMP_GUEST_PERM
        return ArchPrctl(code, Immediate(self.feature_nr), self.by)

    def step(self, machine: Machine) -> Step:
        """Grant it, or refuse."""
        return permission.request_guest_permission(machine, self.feature_nr, self.by)

    @property
    def text(self) -> str:
        """Name the feature and the caller."""
        return f"{self.kernel_call}({_number(self.feature_nr)}){by_whom(self.by)}"


@op(
    "req-perm",
    "ARCH_REQ_XCOMP_PERM",
    "Documentation/arch/x86/xstate.rst",
    "arch/x86/kernel/fpu/xstate.c: xstate_request_perm",
    errnos={
        "EINVAL": "no component has that number",
        "EOPNOTSUPP": "not a dynamic component, or not on this host",
        "ENOSPC": "a thread's signal stack is too small for the larger frame",
    },
)
@dataclass(frozen=True, slots=True)
class RequestPermission(Op):
    """Ask for the process's own permission for one feature number."""

    feature_nr: int
    by: str = MAIN

    def lower(self, host: HostProfile) -> Call:  # noqa: ARG002
        """Lower to arch_prctl(2)."""
        return ArchPrctl(ArchPrctlCode.REQ_XCOMP_PERM, Immediate(self.feature_nr), self.by)

    def step(self, machine: Machine) -> Step:
        """Grant it, or refuse."""
        return permission.request_host_permission(machine, self.feature_nr, self.by)

    @property
    def text(self) -> str:
        """Name the feature and the caller."""
        return f"{self.kernel_call}({_number(self.feature_nr)}){by_whom(self.by)}"


def _number(feature_nr: int) -> str:
    return str(feature_nr) if feature_nr < 1 << 16 else hex(feature_nr)


class _Get(Op):
    """A bitmap that arch_prctl(2) writes."""

    code: ClassVar[ArchPrctlCode]
    output_fields: ClassVar[Mapping[str, tuple[int, str]]] = {permission.XCOMP_FIELD: (0, "Q")}
    by: str

    def lower(self, host: HostProfile) -> Call:  # noqa: ARG002
        """Lower to a buffer of 8 bytes."""
        return ArchPrctl(self.code, Output(_BITMAP_SIZE), self.by)

    @property
    def text(self) -> str:
        """Name the caller."""
        return f"{self.kernel_call}{by_whom(self.by)}"


@op("get-xcomp-supp", "ARCH_GET_XCOMP_SUPP", *_SOURCES)
@dataclass(frozen=True)
class GetSupported(_Get):
    """Read which components the host supports for user space."""

    code: ClassVar[ArchPrctlCode] = ArchPrctlCode.GET_XCOMP_SUPP
    by: str = MAIN

    def step(self, machine: Machine) -> Step:
        """Expect the host's."""
        return permission.get_supported(machine)


@op("get-perm", "ARCH_GET_XCOMP_PERM", *_SOURCES)
@dataclass(frozen=True)
class GetPermission(_Get):
    """Read the calling process's own permission."""

    code: ClassVar[ArchPrctlCode] = ArchPrctlCode.GET_XCOMP_PERM
    by: str = MAIN

    def step(self, machine: Machine) -> Step:
        """Expect what it was granted or inherited."""
        return permission.get_host_permission(machine, self.by)


@op("get-guest-perm", "ARCH_GET_XCOMP_GUEST_PERM", *_SOURCES)
@dataclass(frozen=True)
class GetGuestPermission(_Get):
    """Read the calling process's guest permission."""

    code: ClassVar[ArchPrctlCode] = ArchPrctlCode.GET_XCOMP_GUEST_PERM
    by: str = MAIN

    def step(self, machine: Machine) -> Step:
        """Expect what it was granted or inherited."""
        return permission.get_guest_permission(machine, self.by)


@op(
    "get-xcomp-to-nowhere",
    "ARCH_GET_XCOMP(NULL)",
    *_SOURCES,
    errnos={"EFAULT": "always: there is nothing at the address"},
)
@dataclass(frozen=True, slots=True)
class GetToNowhere(Op):
    """Read a bitmap to a null pointer."""

    code: ArchPrctlCode
    by: str = MAIN

    def __post_init__(self) -> None:
        """Accept the option's number."""
        object.__setattr__(self, "code", ArchPrctlCode(self.code))

    def lower(self, host: HostProfile) -> Call:  # noqa: ARG002
        """Lower to arch_prctl(2)."""
        return ArchPrctl(self.code, Immediate(0), self.by)

    def step(self, machine: Machine) -> Step:
        """Expect EFAULT."""
        return permission.get_to_nowhere(machine)

    @property
    def text(self) -> str:
        """Name the option and the caller."""
        return f"ARCH_{self.code.name}(NULL){by_whom(self.by)}"


@op(
    "arch-prctl-unknown",
    "ARCH_(unknown)",
    "arch/x86/kernel/process.c: do_arch_prctl_common",
    errnos={"EINVAL": "always: there is no such option"},
)
@dataclass(frozen=True, slots=True)
class UnknownOption(Op):
    """Call arch_prctl(2) with an option that is none."""

    option: int
    by: str = MAIN

    def lower(self, host: HostProfile) -> Call:  # noqa: ARG002
        """Lower to arch_prctl(2)."""
        return ArchPrctl(self.option, Immediate(0), self.by)

    def step(self, machine: Machine) -> Step:
        """Expect EINVAL."""
        return permission.unknown_option(machine)

    @property
    def text(self) -> str:
        """Name the option and the caller."""
        return f"arch_prctl({self.option:#x}){by_whom(self.by)}"
