"""A trace as a sequence of lowered calls and their replies, with decoders for their structures."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from kvmprobe.abi import ioctls
from kvmprobe.abi.tables import CPUID, CPUID2, MOST_XCRS, MSRS, XCRS
from kvmprobe.results.record import Finding, Statement
from kvmprobe.scenarios.calls import (
    CANARY,
    MAIN,
    ArchPrctl,
    Captured,
    DuringRun,
    Immediate,
    Ioctl,
    Output,
    RunGuest,
    RunVcpu,
)
from kvmprobe.xstate.cpuid import CpuidEntry, CpuidTable
from kvmprobe.xstate.layout import KVM_XSAVE_SIZE, XSTATE_BV

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kvmprobe.model.host import HostProfile
    from kvmprobe.results.claim import Claim
    from kvmprobe.results.record import ReadingsDiffer
    from kvmprobe.results.trace import RegisterChange, Trace
    from kvmprobe.scenarios.calls import Call
    from kvmprobe.scenarios.ops import Op
    from kvmprobe.scenarios.scenario import Scenario

_U64 = struct.Struct("=Q")
# Most replies of a run are equal to earlier ones, so each decoder keeps its last results.
_KEPT = 512
_NO_VALUES: Mapping[str, int | str] = {}


def _ioctl_name(call: Ioctl) -> str:
    spec = ioctls.BY_NUMBER.get(call.number)
    return spec.name if spec else ""


@dataclass(frozen=True, slots=True, eq=False)
class NamedCall:
    """A call with its names; equal calls of a run are one object.

    :ivar name: ``KVM_SET_XSAVE`` for an ioctl, the kind of the call for any other; both for an
        ioctl during KVM_RUN, of which no checker of the ioctl knows
    :ivar on: name of the descriptor; empty if the call uses none
    :ivar by: name of the task that makes the call
    :ivar captures: name of the captured output; empty if it is not captured
    """

    call: Call
    name: str
    on: str
    by: str
    captures: str

    @classmethod
    def of(cls, call: Call) -> NamedCall:
        """Return a call with its names."""
        kind = name = type(call).__name__
        if isinstance(call, Ioctl):
            name = _ioctl_name(call) or kind
        elif isinstance(call, DuringRun):
            name = f"{kind} {_ioctl_name(call.ioctl)}"
        on = call.on if isinstance(call, Ioctl | RunVcpu | RunGuest | DuringRun) else ""
        by = call.by if isinstance(call, Ioctl | ArchPrctl | RunVcpu) else MAIN
        captures = ""
        if isinstance(call, Ioctl) and isinstance(call.argument, Output):
            captures = call.argument.capture
        return cls(call, name, on, by, captures)


class Event(NamedTuple):
    """One call and its reply.

    :ivar made: the call with its names; those that follow are its own
    :ivar result: return value, or -errno
    :ivar output: the whole output buffer; empty if the call has none or failed
    :ivar changes: of the calling thread's registers, by the call
    :ivar other_changes: of the registers of the task that competes, during the call
    """

    step: int
    op: Op
    made: NamedCall
    call: Call
    name: str
    on: str
    by: str
    result: int
    output: bytes
    changes: tuple[RegisterChange, ...] = ()
    other_changes: tuple[RegisterChange, ...] = ()

    def finding(
        self,
        checker: str,
        invariant: str,
        claim: Claim,
        values: Mapping[str, int | str] = _NO_VALUES,
        ops: tuple[Op, ...] = (),
        details: tuple[Statement | ReadingsDiffer, ...] = (),
    ) -> Finding:
        """Return a finding of a checker at this event."""
        return Finding(checker, invariant, self.step, Statement(claim, values, ops), details)

    @property
    def loads(self) -> bool:
        """True for KVM_RUN, which loads the guest's FPU state even if it returns an error."""
        return isinstance(self.call, RunVcpu | RunGuest | DuringRun)


class Lowered:
    """A cache of lowered ops."""

    def __init__(self, host: HostProfile) -> None:
        self._host = host
        self._of_op: dict[Op, NamedCall] = {}
        self._calls: dict[Call, NamedCall] = {}

    def call(self, op: Op) -> NamedCall:
        """Return the call that an op makes."""
        known = self._of_op.get(op)
        if known is None:
            call = op.lower(self._host)
            known = self._of_op[op] = self._calls.setdefault(call, NamedCall.of(call))
        return known

    def events(self, scenario: Scenario, trace: Trace) -> Iterator[Event]:
        """Yield each call that has a reply, in order."""
        for number, (step, seen) in enumerate(zip(scenario.steps, trace.steps, strict=False)):
            for op, reply in zip(step.ops, seen.replies, strict=False):
                made, result = self.call(op), reply.result
                output = reply.output if reply.output and result >= 0 else b""
                names = (made.name, made.on, made.by)
                changed = (reply.changes, reply.other_changes)
                yield Event(number, op, made, made.call, *names, result, output, *changed)


def input_of(call: Call, captured: Mapping[str, bytes]) -> bytes:
    """Return the bytes that the kernel read; empty if they are not known."""
    if not isinstance(call, Ioctl):
        return b""
    match call.argument:
        case Captured(name, patches):
            content = bytearray(captured.get(name, b""))
            for offset, patch in patches if content else ():
                content[offset : offset + len(patch)] = patch
            return bytes(content)
        case argument:
            return getattr(argument, "content", b"")


def immediate_of(call: Call) -> int | None:
    """Return the argument if it is an integer."""
    match call:
        case Ioctl(argument=Immediate(value)) | ArchPrctl(argument=Immediate(value)):
            return value
        case _:
            return None


def written_image(output: bytes, host: HostProfile) -> bytes:
    """Return the uabi image without the bytes after it, which the kernel did not write."""
    return _written(output, host.uabi_size(host.kvm_xcr0))


@lru_cache(_KEPT)
def _written(output: bytes, largest: int) -> bytes:
    if output.count(CANARY, KVM_XSAVE_SIZE) == len(output) - KVM_XSAVE_SIZE:
        return output[:KVM_XSAVE_SIZE]
    return output[:largest]


def u64(content: bytes, offset: int) -> int:
    """Return eight bytes as a number."""
    value: int = _U64.unpack_from(content, offset)[0]
    return value


def xstate_bv(image: bytes) -> int:
    """Return an image's XSTATE_BV."""
    return u64(image, XSTATE_BV.start)


@lru_cache(_KEPT)
def msrs(content: bytes) -> tuple[tuple[int, int], ...]:
    """Return (index, value) of each entry of ``struct kvm_msrs``."""
    return tuple(MSRS.entries(content, MSRS.count(content)))


@lru_cache(_KEPT)
def xcr0_of(content: bytes) -> int | None:
    """Return XCR0 of ``struct kvm_xcrs``; None if it has flags, too many entries or no XCR0."""
    count, flags = XCRS.head.packed.unpack_from(content)
    if flags or count > MOST_XCRS:
        return None
    return next((value for number, value in XCRS.entries(content, count) if number == 0), None)


@lru_cache(_KEPT)
def cpuid_of(content: bytes) -> CpuidTable | None:
    """Return ``struct kvm_cpuid2`` decoded; None if it is cut off or ``nent`` exceeds its size."""
    if len(content) < CPUID2.offset(0) or len(content) < CPUID2.offset(CPUID2.count(content)):
        return None
    return CpuidTable.from_bytes(content)


def old_cpuid_of(content: bytes) -> CpuidTable | None:
    """Return the table in ``struct kvm_cpuid``, whose entries have no sub-leaf."""
    if len(content) < CPUID.offset(0):
        return None
    entries = CPUID.entries(content, CPUID.count(content))
    return CpuidTable(tuple(CpuidEntry(leaf, 0, 0, *registers) for leaf, *registers in entries))
