"""The calls of a recording as lowered calls, to be issued again, and those that cannot be.

A recording has neither guest memory nor files of the program.  All calls are made in one process,
in the order in which they returned.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, assert_never

from kvmprobe.abi import ioctls
from kvmprobe.abi.capabilities import Capability
from kvmprobe.abi.ioctls import Direction
from kvmprobe.abi.ioctls.as_recorded import SET_IRQCHIP
from kvmprobe.abi.limits import MOST_ADDRESSES, MOST_DESCRIPTORS
from kvmprobe.abi.numbers import ArchPrctlCode, Msr
from kvmprobe.abi.recorder import MOST_PAYLOAD
from kvmprobe.abi.tables import MSRS, table_of
from kvmprobe.errors import RecordingError
from kvmprobe.recordings.lines import (
    Call,
    ObjectKind,
    Permission,
    ProcessChange,
    ProcessLine,
    Run,
    Runs,
)
from kvmprobe.scenarios.calls import (
    ArchPrctl,
    Immediate,
    Ioctl,
    Literal,
    MapMemory,
    OpenKvm,
    Output,
    OutputBehind,
    RunVcpu,
)
from kvmprobe.scenarios.ops.xsave import largest_image
from kvmprobe.vmm.names import call_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from kvmprobe.abi.ioctls import IoctlSpec
    from kvmprobe.model.host import HostProfile
    from kvmprobe.recordings.entries import Entry
    from kvmprobe.scenarios.calls import Argument
    from kvmprobe.scenarios.calls import Call as LoweredCall

# Each call is a step of its own, which needs an address for its end.
MOST_CALLS = MOST_ADDRESSES // 2 - 1
_PAGE = bytes(4096)
_VALUE_SIZE = 8
_FILES = "a file of the program is not in a recording"
_MEMORY = "guest memory is not in a recording"
_LEFT_OUT: Mapping[IoctlSpec, str] = {
    ioctls.IRQFD: _FILES,
    ioctls.IOEVENTFD: _FILES,
    ioctls.GET_DIRTY_LOG: _MEMORY,
    ioctls.TRANSLATE: _MEMORY,
    ioctls.SET_DEVICE_ATTR: "its value can have any size",
}
_OF_FILES = frozenset(
    {
        Capability.SGX_ATTRIBUTE,
        Capability.VM_COPY_ENC_CONTEXT_FROM,
        Capability.VM_MOVE_ENC_CONTEXT_FROM,
    }
)
_REQUESTS = (ArchPrctlCode.REQ_XCOMP_PERM, ArchPrctlCode.REQ_XCOMP_GUEST_PERM)
_IMAGES = (ioctls.GET_XSAVE2, ioctls.SET_XSAVE)
_BEHIND = (ioctls.GET_ONE_REG, ioctls.SET_ONE_REG, ioctls.GET_DEVICE_ATTR)


class ReadBack(Enum):
    """Whether the gate needs to know a vCPU's state before a call that can load it."""

    BEFORE_LOADS = "before loads"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class Reissued:
    """A line of the recording and its call.

    :ivar entry: None for a call that the recording has not
    :ivar call: None for a line that is no call
    """

    entry: Entry | None
    call: LoweredCall | None


@dataclass
class Reissue:
    """What is issued again, in order.

    :ivar left_out: by (call, reason), the number of calls that are not issued
    """

    steps: list[Reissued] = field(default_factory=list)
    left_out: Counter[tuple[str, str]] = field(default_factory=Counter)

    @property
    def calls(self) -> list[LoweredCall]:
        """The calls, in order."""
        return [step.call for step in self.steps if step.call is not None]

    def leave_out(self, entries: Iterable[Entry], why: str) -> None:
        """Count the calls among some entries as not issued."""
        calls = (one for one in entries if isinstance(one.line, Call | Permission | Run))
        self.left_out.update((call_name(entry), why) for entry in calls)


def reissue(entries: Sequence[Entry], host: HostProfile, read_back: ReadBack) -> Reissue:
    """Return the calls of a recording for a host.

    :raises RecordingError: the creation of a vCPU is not in it, or it has more vCPUs than a replay
        can have
    """
    return _Lowering(entries, host, read_back).run()


class _Lowering:
    def __init__(self, entries: Sequence[Entry], host: HostProfile, read_back: ReadBack) -> None:
        self._entries = entries
        self._host = host
        self._read_back = read_back
        self._family = _family(entries)
        self._binds = _created(entries)
        self._bound: set[str] = set()
        self._slots: set[tuple[str, int]] = set()
        self._made = Reissue()
        self._calls = 0
        if len(self._binds) >= MOST_DESCRIPTORS:
            raise RecordingError(
                f"it has {len(self._binds)} VMs and vCPUs; a replay can have {MOST_DESCRIPTORS - 1}"
            )

    def run(self) -> Reissue:
        for entry in self._entries:
            self._take(entry.with_whole_payloads())
        return self._made

    def _take(self, entry: Entry) -> None:
        line = entry.line
        if isinstance(line, Call | Permission | Run):
            found = self._refusal(entry, line) or self._lowered(entry, line)
            if isinstance(found, str):
                self._made.left_out[call_name(entry), found] += 1
                return
            self._before(entry, found)
            self._add(entry, found)
        elif isinstance(line, ProcessLine | Runs):
            self._made.steps.append(Reissued(entry, None))

    def _add(self, entry: Entry | None, call: LoweredCall) -> None:
        self._made.steps.append(Reissued(entry, call))
        self._calls += 1

    def _refusal(self, entry: Entry, line: Call | Permission | Run) -> str:
        if line.process not in self._family:
            return "another process made it"
        if self._calls >= MOST_CALLS:
            return f"a replay makes at most {MOST_CALLS} calls"
        target = entry.target
        if target is None or target.kind is ObjectKind.KVM or target.id in self._bound:
            return ""
        if target.kind is ObjectKind.DEVICE:
            return "devices are not replayed"
        return f"the creation of its {target.kind.value} was not recorded"

    def _lowered(self, entry: Entry, line: Call | Permission | Run) -> LoweredCall | str:
        match line:
            case Permission():
                request = line.code in _REQUESTS
                argument = Immediate(line.argument) if request else Output(_VALUE_SIZE)
                return ArchPrctl(line.code, argument)
            case Run():
                return RunVcpu(line.on, 1)
            case Call():
                return self._ioctl(entry, line)
            case _:
                assert_never(line)

    def _ioctl(self, entry: Entry, line: Call) -> LoweredCall | str:
        spec = entry.spec
        if spec is None:
            return "kvmprobe does not describe it"
        if spec in _LEFT_OUT:
            return _LEFT_OUT[spec]
        argument = self._argument(entry, line, spec)
        if argument is None:
            return "its payload was not recorded"
        if spec == ioctls.SET_USER_MEMORY_REGION:
            return self._memory(entry, line)
        if spec == ioctls.ENABLE_CAP and entry.sent:
            capability = ioctls.KVM_ENABLE_CAP.packed.unpack_from(entry.sent)[0]
            if capability in _OF_FILES:
                return _FILES
        name = self._binds.get(entry.number, "")
        self._bound |= {name} - {""}
        return Ioctl(spec.number, line.on, argument, name)

    def _argument(self, entry: Entry, line: Call, spec: IoctlSpec) -> Argument | None:
        """Return an ioctl's argument; None if the recording has not what it needs."""
        if spec.argument is None:
            return Immediate(line.argument)
        if spec in _BEHIND:
            return _behind(spec, entry)
        if spec == SET_IRQCHIP:
            return None if entry.got is None else Literal(entry.got)
        match spec.direction:
            case Direction.READ:
                return Output(self._room(b"", spec))
            case Direction.BOTH:
                # The program may have given no more than the head.
                sent = entry.got if entry.sent is None else entry.sent
                return None if sent is None else Output(self._room(sent, spec), sent)
            case _:
                sent = entry.sent
                return None if sent is None else Literal(sent.ljust(self._room(sent, spec), b"\0"))

    def _room(self, sent: bytes, spec: IoctlSpec) -> int:
        """Return how many bytes the kernel may read or write, at least those that it is sent."""
        if spec in _IMAGES:
            return max(len(sent), largest_image(self._host))
        if spec == ioctls.GET_NESTED_STATE:
            size: int = ioctls.KVM_NESTED_STATE.packed.unpack_from(sent)[2]
            return min(max(size, len(sent)), MOST_PAYLOAD)
        table = table_of(spec.argument)
        return max(len(sent), table.offset(table.count(sent)) if table else spec.size)

    def _memory(self, entry: Entry, line: Call) -> LoweredCall | str:
        """Return a call that gives a slot a page of zeros, or empties it."""
        region = ioctls.KVM_USERSPACE_MEMORY_REGION.packed
        slot, flags, address, size, _ = region.unpack_from(entry.sent or bytes(region.size))
        if size == 0:
            self._slots.discard((line.on, slot))
            empty = region.pack(slot, flags, address, 0, 0)
            return Ioctl(ioctls.SET_USER_MEMORY_REGION.number, line.on, Literal(empty))
        if (line.on, slot) in self._slots:
            return "the slot has its memory"
        self._slots.add((line.on, slot))
        return MapMemory(line.on, slot, address, _PAGE)

    def _before(self, entry: Entry, call: LoweredCall) -> None:
        """Add the calls of our own that a call needs."""
        target = entry.target
        if target and target.kind is ObjectKind.KVM and target.id not in self._bound:
            self._bound.add(target.id)
            self._add(None, OpenKvm(target.id))
        if self._read_back is ReadBack.BEFORE_LOADS and self._can_load(entry, call):
            image = Output(largest_image(self._host))
            index = MSRS.pack([(Msr.IA32_XFD, 0)])
            for spec, output in (
                (ioctls.GET_XSAVE2, image),
                (ioctls.GET_MSRS, Output(len(index), index)),
            ):
                read = Ioctl(spec.number, getattr(call, "on", ""), output)
                self._add(None, read)

    @staticmethod
    def _can_load(entry: Entry, call: LoweredCall) -> bool:
        of_vcpu = entry.target is not None and entry.target.kind is ObjectKind.VCPU
        lists = (ioctls.GET_MSRS, ioctls.SET_MSRS, ioctls.GET_ONE_REG, ioctls.SET_ONE_REG)
        return of_vcpu and (isinstance(call, RunVcpu) or entry.spec in lists)


def _behind(spec: IoctlSpec, entry: Entry) -> OutputBehind | None:
    """Return the argument of a call whose structure points to a value."""
    layout = spec.argument
    value = entry.sent_value if spec == ioctls.SET_ONE_REG else b""
    if entry.sent is None or value is None:
        return None
    assert layout is not None  # noqa: S101 - all three have one
    return OutputBehind(entry.sent[: layout.size], layout.offset("addr"), _VALUE_SIZE, value)


def _family(entries: Iterable[Entry]) -> frozenset[int]:
    """Return the process that created the first vCPU, and those that it was forked from.

    :raises RecordingError: none did
    """
    parents: dict[int, int] = {}
    for entry in entries:
        line = entry.line
        if isinstance(line, ProcessLine) and line.event is ProcessChange.FORK:
            parents[line.process] = -1 if line.parent is None else line.parent
        elif isinstance(line, Call) and entry.spec == ioctls.CREATE_VCPU and _worked(line):
            found = [line.process]
            while found[-1] in parents:
                found.append(parents[found[-1]])
            return frozenset(found)
    raise RecordingError("no vCPU is created in it, so there is nothing to replay")


def _created(entries: Iterable[Entry]) -> Mapping[int, str]:
    """Return the id of the object that each creation made which was used, by the call's line."""
    found: dict[int, str] = {}
    vms: list[tuple[int, int]] = []
    vcpus: dict[tuple[str, int], int] = {}
    seen: set[str] = set()
    for entry in entries:
        line, target = entry.line, entry.target
        if not isinstance(line, Call | Run):
            continue
        if target and target.id not in seen:
            seen.add(target.id)
            if target.kind is ObjectKind.VM and vms:
                made = [number for number, fd in vms if fd == line.fd] or [vms[-1][0]]
                found[made[-1]] = target.id
            elif target.kind is ObjectKind.VCPU:
                number = vcpus.get(
                    (target.of or "", -1 if target.number is None else target.number)
                )
                found |= {} if number is None else {number: target.id}
        if isinstance(line, Call) and _worked(line):
            if entry.spec == ioctls.CREATE_VM:
                vms.append((entry.number, line.result or 0))
            elif entry.spec == ioctls.CREATE_VCPU:
                vcpus[line.on, line.argument] = entry.number
    return found


def _worked(line: Call) -> bool:
    return line.result is not None and line.result >= 0
