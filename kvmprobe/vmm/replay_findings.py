"""What a replay of a recording shows, as values; ``reports.vmm_replay`` makes text of them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from kvmprobe.results.difference import Difference  # noqa: TC001 - the codec reads annotations
from kvmprobe.vmm.findings import At, Finding, Level


class Cause(Enum):
    """Why a call can answer otherwise than it was recorded to."""

    HOST = "host"
    """The processor, or what KVM offers guests on it, is another."""
    KERNEL = "kernel"
    """The kernels differ in behaviours that are known."""
    EARLIER = "earlier"
    """A call before it answered otherwise; the model of the recorded host then expects this."""
    EITHER = "either"
    """The model allows both."""
    NOT_MODELLED = "not modelled"
    """The model has no rule for it."""
    UNEXPECTED = "unexpected"
    """The model does not expect it on this host either; another finding has it."""


@dataclass(frozen=True, slots=True)
class Reason:
    """The cause, and if it is the kernel, the names of the behaviours that only one of them has."""

    cause: Cause
    behaviours: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FailsHere:
    """A call that succeeded in the recording fails in the replay.

    :ivar recorded: its result in the recording
    :ivar observed: a negative errno, or the number of entries that KVM_SET_MSRS took
    :ivar msr: that at which the list ended
    """

    vcpu: str
    at: At
    recorded: int
    observed: int
    reason: Reason
    msr: int | None = None
    level = Level.ERROR


@dataclass(frozen=True, slots=True)
class ReturnsOtherwise:
    """A call returns another result than in the recording, and does not fail for that.

    :ivar msr: that at which a list ended
    """

    vcpu: str
    at: At
    recorded: int
    observed: int
    reason: Reason
    msr: int | None = None
    level = Level.NOTE


@dataclass(frozen=True, slots=True)
class GivesOtherwise:
    """A call reads other values than in the recording.

    :ivar difference: what was recorded is what it expects
    """

    vcpu: str
    at: At
    difference: Difference
    reason: Reason
    level = Level.NOTE


@dataclass(frozen=True, slots=True)
class NotAsModelled:
    """The kernel's answer in the replay is not what the model expects.

    :ivar defects: ids of the known defects that explain it; none if it is not known
    """

    vcpu: str
    at: At
    difference: Difference
    defects: tuple[str, ...]
    level = Level.WARNING


@dataclass(frozen=True, slots=True)
class HostDied:
    """The host died in the replay.

    :ivar report: headline of the kernel's report; empty if there is none
    :ivar defects: ids of the known defects that explain it
    """

    vcpu: str
    at: At
    report: str
    defects: tuple[str, ...]
    level = Level.ERROR


@dataclass(frozen=True, slots=True)
class KernelReports:
    """The kernel logged a fault during a call of the replay."""

    vcpu: str
    at: At
    message: str
    level = Level.ERROR


@dataclass(frozen=True, slots=True)
class ReplayEnded:
    """The replay did not come to an end.

    :ivar why: a signal, a deadline, or what the executor could not do
    """

    vcpu: str
    at: At
    why: str
    level = Level.ERROR


@dataclass(frozen=True, slots=True)
class StoppedBefore:
    """The replay stopped before a call that can panic the host.

    :ivar defects: ids of the known defects that this kernel has, or may have, and that make it so
    """

    vcpu: str
    at: At
    defects: tuple[str, ...]
    level = Level.WARNING


ReplayFinding = (
    FailsHere
    | ReturnsOtherwise
    | GivesOtherwise
    | NotAsModelled
    | HostDied
    | KernelReports
    | ReplayEnded
    | StoppedBefore
)
Found = Finding | ReplayFinding
