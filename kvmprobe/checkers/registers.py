"""Register structures of a vCPU as a trace shows them: what was accepted, and what was read.

Checkers of SREGS, REGS, VCPU_EVENTS, DEBUGREGS, MP_STATE and single MSRs compare the next reply
with it.  A value is known until a call that may change it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

from kvmprobe.abi import ioctls
from kvmprobe.abi.numbers import KvmExit
from kvmprobe.checkers.event import input_of, msrs
from kvmprobe.scenarios.calls import Ioctl, OutputBehind, RunVcpu

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvmprobe.abi.layout import Layout
    from kvmprobe.checkers.event import Event

_SPECS = (
    (ioctls.GET_REGS, ioctls.SET_REGS),
    (ioctls.GET_SREGS, ioctls.SET_SREGS),
    (ioctls.GET_SREGS2, ioctls.SET_SREGS2),
    (ioctls.GET_DEBUGREGS, ioctls.SET_DEBUGREGS),
    (ioctls.GET_VCPU_EVENTS, ioctls.SET_VCPU_EVENTS),
    (ioctls.GET_MP_STATE, ioctls.SET_MP_STATE),
    (ioctls.GET_FPU, ioctls.SET_FPU),
)
LAYOUTS: Mapping[str, Layout] = {
    spec.name: spec.argument for pair in _SPECS for spec in pair if spec.argument
}
GET_OF: Mapping[str, str] = {put.name: get.name for get, put in _SPECS}
"""The ioctl that reads what an ioctl writes."""
GETS = frozenset(GET_OF.values())
MSR_WRITES = frozenset({"KVM_SET_MSRS", "KVM_SET_ONE_REG"})
MSR_READS = frozenset({"KVM_GET_MSRS", "KVM_GET_ONE_REG"})
_REGS, _EVENTS, _MP_STATE, _FPU = (
    "KVM_GET_REGS",
    "KVM_GET_VCPU_EVENTS",
    "KVM_GET_MP_STATE",
    "KVM_GET_FPU",
)
_DEBUGREGS = "KVM_GET_DEBUGREGS"
_GET_SREGS, _SET_SREGS = "KVM_GET_SREGS", "KVM_SET_SREGS"
_SREGS = frozenset({_GET_SREGS, "KVM_GET_SREGS2"})
# Reading events or SREGS delivers an exception's payload: to CR2 or DR6.
_PAYLOAD = _SREGS | {_EVENTS, _DEBUGREGS}
_NOTHING: frozenset[str] = frozenset()
# EFER, bases and IA32_APIC_BASE are MSRs; an x2APIC register sends INIT; FPU MSRs load the FPU.
_OF_MSRS = _SREGS | {_EVENTS, _MP_STATE, _FPU}
_MAY_CHANGE: Mapping[str, frozenset[str]] = {
    "KVM_SET_REGS": frozenset({_REGS, _EVENTS}),
    # An interrupt in the bitmap; the boot processor at its reset vector becomes runnable.
    **dict.fromkeys(("KVM_SET_SREGS", "KVM_SET_SREGS2"), _SREGS | {_EVENTS, _MP_STATE}),
    "KVM_SET_DEBUGREGS": frozenset({_DEBUGREGS}),
    "KVM_SET_VCPU_EVENTS": _PAYLOAD | {_MP_STATE},
    "KVM_SET_MP_STATE": frozenset({_MP_STATE}),
    "KVM_SET_LAPIC": _SREGS | {_EVENTS, _MP_STATE},
    # What CR4 may have depends on CPUID.
    **dict.fromkeys(("KVM_SET_CPUID", "KVM_SET_CPUID2"), _SREGS),
    **dict.fromkeys(("KVM_SET_XSAVE", "KVM_SET_FPU"), frozenset({_FPU})),
    "KVM_SET_XCRS": _NOTHING,
    **dict.fromkeys(MSR_WRITES, _OF_MSRS),
    **dict.fromkeys(MSR_READS, frozenset({_FPU})),
}
# A VM entry that fails loads no guest state (SDM vol.3 §28.8 "VM-Entry Failures During or After
# Loading Guest State").
_AFTER_FAILED_ENTRY = frozenset({_EVENTS, _MP_STATE, _FPU})
# asm/kvm.h: KVM_X86_REG_TYPE_MSR, a u64.
_MSR_REGISTER = 0x2030_0002
_REGISTER_ID = struct.Struct("=Q")
_VALUE_OFFSET = ioctls.KVM_ONE_REG.size


@dataclass(slots=True)
class Registers:
    """What a trace shows of one vCPU's register structures.

    :ivar accepted: the argument of the last SET that was accepted, by the GET's name
    :ivar read: the last output of each GET
    :ivar since: events since then
    :ivar written: MSRs and registers that the last accepted call wrote, by register id
    :ivar values: MSRs and registers as read since the last call that may have changed one
    :ivar before: as read before that
    :ivar first_sregs: SREGS as read before the first KVM_RUN; empty once anything else was written
    :ivar last_sregs: what KVM_SET_SREGS last accepted
    """

    accepted: dict[str, bytes] = field(default_factory=dict)
    read: dict[str, bytes] = field(default_factory=dict)
    since: dict[str, list[Event]] = field(default_factory=dict)
    written: dict[int, int] = field(default_factory=dict)
    values: dict[int, int] = field(default_factory=dict)
    before: dict[int, int] = field(default_factory=dict)
    first_sregs: bytes = b""
    last_sregs: bytes = b""
    ran: bool = False
    waits: bool = False
    """It was given an MP state or events that the next GET_MP_STATE or KVM_RUN acts upon."""

    def update(self, event: Event, captured: Mapping[str, bytes]) -> None:
        """Follow one event on the vCPU."""
        if event.name in MSR_READS:
            self.values |= registers_read(event)
        for events in self.since.values():
            events.append(event)
        if event.name in GETS:
            self._read(event)
            return
        if event.result < 0 and not event.loads and event.name not in MSR_WRITES:
            return
        self._forget(event)
        content = input_of(event.call, captured)
        if event.name == _SET_SREGS:
            self.last_sregs = content
        elif not _reads(event) and not _plain_run(event):
            self.first_sregs = b""
        if event.name in MSR_WRITES:
            self.written = registers_written(event, content)
            self.before |= self.values
            self.values.clear()
        elif event.name not in MSR_READS:
            self.written = {}
            self.values.clear()
        if event.name in GET_OF and whole(event.name, content):
            self.accepted[GET_OF[event.name]] = content
            self.waits |= event.name in {"KVM_SET_MP_STATE", "KVM_SET_VCPU_EVENTS"}

    def _read(self, event: Event) -> None:
        if event.result < 0 or not whole(event.name, event.output):
            return
        if self.waits and event.name == _MP_STATE:
            # arch/x86/kvm/x86.c: kvm_arch_vcpu_ioctl_get_mpstate, which accepts INIT and SIPI
            self._drop(GETS)
        elif self.ran and event.name in _PAYLOAD:
            self._drop(_PAYLOAD)
        if event.name == _GET_SREGS and not self.ran and not self.last_sregs:
            self.first_sregs = event.output
        self.read[event.name] = event.output
        self.since[event.name] = []

    def _forget(self, event: Event) -> None:
        self.ran |= event.loads
        if entry_failed(event):
            self._drop(_AFTER_FAILED_ENTRY)
        else:
            self._drop(_MAY_CHANGE.get(event.name, _NOTHING if _reads(event) else GETS))

    def _drop(self, names: frozenset[str]) -> None:
        for name in names:
            self.accepted.pop(name, None)
            self.read.pop(name, None)
            self.since.pop(name, None)


def entry_failed(event: Event) -> bool:
    """Return True if a plain KVM_RUN did not enter the guest."""
    failed = int.from_bytes(event.output[:4], "little") == KvmExit.FAIL_ENTRY
    return _plain_run(event) and not event.result and failed


def _plain_run(event: Event) -> bool:
    # One that stores registers in the run area changes them whether or not the entry fails.
    return isinstance(event.call, RunVcpu) and not event.call.patches


def _reads(event: Event) -> bool:
    return event.name.startswith("KVM_GET_") or event.name == "KVM_CHECK_EXTENSION"


def whole(name: str, content: bytes) -> bool:
    """Return True if this is all of an ioctl's structure: a read may be cut off."""
    return len(content) >= LAYOUTS[name].size


@lru_cache(maxsize=512)
def members(name: str, content: bytes) -> Mapping[str, int]:
    """Return the numbers of an ioctl's structure by name."""
    places = LAYOUTS[name].numbers
    return {n: struct.unpack_from(f"={code}", content, at)[0] for n, (at, code) in places.items()}


def registers_written(event: Event, content: bytes) -> dict[int, int]:
    """Return what a call wrote, by register id."""
    if event.name == "KVM_SET_MSRS":
        entries = msrs(content)[: max(event.result, 0)] if content else ()
        return {_id(index): value for index, value in entries}
    head = event.call.argument if isinstance(event.call, Ioctl) else None
    if event.result < 0 or not isinstance(head, OutputBehind):
        return {}
    return _one(head.head + head.content)


def registers_read(event: Event) -> dict[int, int]:
    """Return what a call read, by register id."""
    if event.result < 0 or not event.output:
        return {}
    if event.name == "KVM_GET_MSRS":
        return {_id(index): value for index, value in msrs(event.output)[: event.result]}
    return _one(event.output)


def msr_of(register_id: int) -> int | None:
    """Return the MSR with this register id; None for another register."""
    kind, index = divmod(register_id, 1 << 32)
    return index if kind == _MSR_REGISTER else None


def _id(index: int) -> int:
    return _MSR_REGISTER << 32 | index


def _one(content: bytes) -> dict[int, int]:
    if len(content) < _VALUE_OFFSET + 8:
        return {}
    (register_id,) = _REGISTER_ID.unpack_from(content)
    (value,) = _REGISTER_ID.unpack_from(content, _VALUE_OFFSET)
    return {register_id: value}
