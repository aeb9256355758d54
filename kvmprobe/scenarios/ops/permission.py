"""arch_prctl's XCOMP options: supported and permitted components, and requests."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Annotated, ClassVar

from kvmprobe.abi.numbers import ArchPrctlCode
from kvmprobe.model import permission
from kvmprobe.scenarios.calls import MAIN, ArchPrctl, Call, Immediate, Output
from kvmprobe.scenarios.op_fields import U32, U64, Caller, Choice
from kvmprobe.scenarios.ops._base import FixedOp, op
from kvmprobe.scenarios.ops.lifecycle import by_whom

if TYPE_CHECKING:
    from kvmprobe.model.machine import Machine
    from kvmprobe.model.outcome import Step

_BITMAP_SIZE = 8
_BITMAP = {permission.XCOMP_FIELD: (0, "Q")}
_READS = (
    ArchPrctlCode.GET_XCOMP_SUPP,
    ArchPrctlCode.GET_XCOMP_PERM,
    ArchPrctlCode.GET_XCOMP_GUEST_PERM,
)
ReadCode = Annotated[ArchPrctlCode, Choice(_READS)]


def _number(feature_nr: int) -> str:
    return str(feature_nr) if feature_nr < 1 << 16 else hex(feature_nr)


@op(
    "req-guest-perm",
    "ARCH_REQ_XCOMP_GUEST_PERM",
    permission.REQUEST_GUEST_PERMISSION,
    errnos=(errno.EINVAL, errno.EOPNOTSUPP, errno.EBUSY),
)
class RequestGuestPermission(FixedOp):
    """Request guest permission for one feature number."""

    feature_nr: U64
    by: Caller = MAIN

    def call(self) -> Call:
        code = ArchPrctlCode.REQ_XCOMP_GUEST_PERM
        return ArchPrctl(code, Immediate(self.feature_nr), self.by)

    def transition(self, machine: Machine) -> Step:
        return permission.request_guest_permission(machine, self.feature_nr, self.by)

    @property
    def text(self) -> str:
        return f"{self.kernel_call}({_number(self.feature_nr)}){by_whom(self.by)}"


@op(
    "req-perm",
    "ARCH_REQ_XCOMP_PERM",
    permission.REQUEST_HOST_PERMISSION,
    errnos=(errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSPC),
)
class RequestPermission(FixedOp):
    """Request the process's own permission for one feature number."""

    feature_nr: U64
    by: Caller = MAIN

    def call(self) -> Call:
        return ArchPrctl(ArchPrctlCode.REQ_XCOMP_PERM, Immediate(self.feature_nr), self.by)

    def transition(self, machine: Machine) -> Step:
        return permission.request_host_permission(machine, self.feature_nr, self.by)

    @property
    def text(self) -> str:
        return f"{self.kernel_call}({_number(self.feature_nr)}){by_whom(self.by)}"


class _Get(FixedOp):
    """A bitmap that arch_prctl(2) writes."""

    code: ClassVar[ArchPrctlCode]
    by: Caller

    def call(self) -> Call:
        return ArchPrctl(self.code, Output(_BITMAP_SIZE), self.by)

    @property
    def text(self) -> str:
        return f"{self.kernel_call}{by_whom(self.by)}"


@op("get-xcomp-supp", "ARCH_GET_XCOMP_SUPP", permission.GET_SUPPORTED, output=_BITMAP)
class GetSupported(_Get):
    """Read which components the host supports for user space."""

    by: Caller = MAIN
    code = ArchPrctlCode.GET_XCOMP_SUPP

    def transition(self, machine: Machine) -> Step:
        return permission.get_supported(machine)


@op("get-perm", "ARCH_GET_XCOMP_PERM", permission.GET_HOST_PERMISSION, output=_BITMAP)
class GetPermission(_Get):
    """Read the calling process's own permission."""

    by: Caller = MAIN
    code = ArchPrctlCode.GET_XCOMP_PERM

    def transition(self, machine: Machine) -> Step:
        return permission.get_host_permission(machine, self.by)


@op("get-guest-perm", "ARCH_GET_XCOMP_GUEST_PERM", permission.GET_GUEST_PERMISSION, output=_BITMAP)
class GetGuestPermission(_Get):
    """Read the calling process's guest permission."""

    by: Caller = MAIN
    code = ArchPrctlCode.GET_XCOMP_GUEST_PERM

    def transition(self, machine: Machine) -> Step:
        return permission.get_guest_permission(machine, self.by)


@op(
    "get-xcomp-to-nowhere",
    "ARCH_GET_XCOMP",
    permission.GET_TO_NOWHERE,
    errnos=(errno.EFAULT,),
    operand="NULL",
)
class GetToNowhere(FixedOp):
    """Read a bitmap to a null pointer."""

    code: ReadCode
    by: Caller = MAIN

    def call(self) -> Call:
        return ArchPrctl(self.code, Immediate(0), self.by)

    def transition(self, machine: Machine) -> Step:
        return permission.get_to_nowhere(machine)

    @property
    def call_name(self) -> str:
        return f"ARCH_{self.code.name}"

    @property
    def text(self) -> str:
        return f"{self.call_name}(NULL){by_whom(self.by)}"


@op(
    "arch-prctl-unknown",
    "ARCH_",
    permission.UNKNOWN_OPTION,
    errnos=(errno.EINVAL,),
    operand="unknown",
)
class UnknownOption(FixedOp):
    """Call arch_prctl(2) with an option that does not exist."""

    option: U32
    by: Caller = MAIN

    def call(self) -> Call:
        return ArchPrctl(self.option, Immediate(0), self.by)

    def transition(self, machine: Machine) -> Step:
        return permission.unknown_option(machine)

    @property
    def call_name(self) -> str:
        return "arch_prctl"

    @property
    def text(self) -> str:
        return f"arch_prctl({self.option:#x}){by_whom(self.by)}"
