"""What can be wrong with a VMM's calls, as values; ``reports.vmm_review`` makes text of them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from kvmprobe.results.difference import Difference  # noqa: TC001 - the codec reads annotations


class At(NamedTuple):
    """A call: its line in the recording, and the ioctl or system call."""

    line: int
    call: str


class PieceKind(Enum):
    """The kinds of values that a VMM restores and the model follows."""

    COMPONENT = "component"
    """A state component of an XSAVE image; the number is its bit in XSTATE_BV."""
    XCR = "xcr"
    """An extended control register."""
    MSR = "msr"
    SSP = "ssp"
    """The guest's shadow stack pointer, KVM_REG_GUEST_SSP."""
    CR = "cr"
    """A control register."""
    MXCSR = "mxcsr"

    # Members are singletons, and Enum's own hash is a Python function.
    __hash__ = object.__hash__


@dataclass(frozen=True, slots=True)
class Piece:
    """One value of a vCPU that a VMM restores."""

    kind: PieceKind
    number: int


class Level(Enum):
    """How much a finding matters; a note does not change the exit status."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


class Reach(Enum):
    """Whether a finding is about the judged kernel, or about others."""

    THIS_KERNEL = "this kernel"
    OTHER_KERNELS = "other kernels"


@dataclass(frozen=True, slots=True)
class HostDies:
    """The call takes the host down.

    :ivar defects: ids of the known defects that make it fatal
    """

    vcpu: str
    at: At
    defects: tuple[str, ...]
    reach: Reach

    @property
    def level(self) -> Level:
        """Another kernel's defect is a warning."""
        return Level.ERROR if self.reach is Reach.THIS_KERNEL else Level.WARNING


class LostBy(Enum):
    """How a later call loses a value."""

    REPLACED = "replaced"
    """The call makes it another value, INIT for a component."""
    NOT_TAKEN = "not taken"
    """The kernel did not take it, because of what the later call sets."""
    TOO_EARLY = "too early"
    """The kernel computed with what the later call replaces."""


@dataclass(frozen=True, slots=True)
class Lost:
    """Restored values are gone when the guest is entered.

    :ivar by: the call that lost them; the restoring call itself if they were dropped at once
    """

    vcpu: str
    pieces: tuple[Piece, ...]
    restored: At
    by: At
    how: LostBy
    level = Level.ERROR


class Expected(Enum):
    """Why a value should be restored."""

    OFFERED = "offered"
    """The guest's CPUID offers the feature."""
    SAVED = "saved"
    """The recording has it saved from a vCPU."""


@dataclass(frozen=True, slots=True)
class NotRestored:
    """The guest is entered after a KVM_SET_XSAVE, and values that belong to it were never set."""

    vcpu: str
    pieces: tuple[Piece, ...]
    why: Expected
    entered: At

    @property
    def level(self) -> Level:
        """What a guest may use is a warning, what it has used is an error."""
        return Level.ERROR if self.why is Expected.SAVED else Level.WARNING


@dataclass(frozen=True, slots=True)
class ErrorIgnored:
    """A call that sets state failed, nothing repeated it, and the guest is entered.

    :ivar result: a negative errno, or the number of entries that KVM_SET_MSRS took
    :ivar msrs: those of the entries that it did not take and that no later call set
    """

    vcpu: str
    failed: At
    result: int
    entered: At
    msrs: tuple[int, ...] = ()
    level = Level.ERROR


class Asked(Enum):
    """What became of the request for guest permission."""

    NEVER = "never"
    TOO_LATE = "too late"
    """EBUSY: the process had created a vCPU."""
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class PermissionMissing:
    """KVM_SET_CPUID2 with a dynamic component fails: the process has no guest permission.

    :ivar vcpu: or the process, where the request came too late and ``at`` is the request itself
    :ivar request: the ARCH_REQ_XCOMP_GUEST_PERM that failed
    """

    vcpu: str
    at: At
    asked: Asked
    request: At | None = None
    level = Level.ERROR


@dataclass(frozen=True, slots=True)
class ImageCut:
    """KVM_GET_XSAVE of a vCPU whose state is larger than ``struct kvm_xsave``.

    :ivar size: bytes of its state
    """

    vcpu: str
    at: At
    size: int
    level = Level.ERROR


@dataclass(frozen=True, slots=True)
class Refused:
    """A call that succeeded in the recording fails on the judged kernel.

    :ivar errno: positive; 0 if KVM_SET_MSRS ends at an entry
    :ivar msr: of that entry
    """

    vcpu: str
    at: At
    errno: int
    msr: int | None = None
    level = Level.ERROR


@dataclass(frozen=True, slots=True)
class Differs:
    """The recorded kernel returned another value than the model expects of it.

    :ivar expected: the results that the model allows.  Of KVM_SET_MSRS, results count the MSRs
        that the model knows
    """

    vcpu: str
    at: At
    expected: tuple[int, ...]
    recorded: int
    level = Level.NOTE


@dataclass(frozen=True, slots=True)
class ReadsOtherwise:
    """What a call read on the recorded kernel is not what the model expects of it."""

    vcpu: str
    at: At
    difference: Difference
    level = Level.NOTE


@dataclass(frozen=True, slots=True)
class OrderMatters:
    """Two calls, one after the other, do not commute on this vCPU.

    :ivar refused: the one that fails in the other order; None if both succeed, with other state
    """

    vcpu: str
    first: At
    second: At
    refused: At | None
    level = Level.NOTE


Finding = (
    HostDies
    | Lost
    | NotRestored
    | ErrorIgnored
    | PermissionMissing
    | ImageCut
    | Refused
    | Differs
    | ReadsOtherwise
    | OrderMatters
)
