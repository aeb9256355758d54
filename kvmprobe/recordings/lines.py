"""The lines of a recording, each a JSON object whose ``type`` is the name in :data:`LINES`.

Docstrings are the descriptions of the schema (:mod:`recordings.schema`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping  # noqa: TC003 - the codec reads annotations
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple


class ObjectKind(Enum):
    """What a file descriptor refers to."""

    KVM = "kvm"
    VM = "vm"
    VCPU = "vcpu"
    DEVICE = "device"
    """Of KVM_CREATE_DEVICE, or another file that took a request of KVM's type."""


class ProcessChange(Enum):
    """What happened to a process."""

    START = "start"
    """The command was started."""
    ATTACH = "attach"
    """The recorder attached to a running process."""
    FORK = "fork"
    EXEC = "exec"
    """It has a new program, and a new number; permissions of XSTATE features are gone."""
    EXIT = "exit"
    KILLED = "killed"
    DETACH = "detach"
    """The recorder let go of it; it continues."""


class EndReason(Enum):
    """Why a recording ended."""

    ENDED = "ended"
    """The last traced process ended."""
    DETACHED = "detached"
    """The user interrupted ``trace --pid``."""
    LOST = "lost"
    """The recorder was killed; calls after that are missing."""


class Order(NamedTuple):
    """Positions in the order of all threads: a call's entry and its return.

    Calls overlapped if one was entered before the other had returned.
    """

    began: int
    ended: int


@dataclass(frozen=True, slots=True)
class Cpu:
    """The processor, by CPUID leaves 0 and 1.

    :ivar vendor: as in leaf 0, such as GenuineIntel
    :ivar family: display family (SDM vol.2 CPUID, leaf 1)
    :ivar model: display model
    """

    vendor: str
    family: int
    model: int
    stepping: int


@dataclass(frozen=True, slots=True)
class Header:
    """The first line.

    :ivar tool: name and version of the recorder
    :ivar architecture: as uname(2) names it: x86_64
    :ivar kernel: its release
    :ivar kernel_version: its build
    :ivar command: the command that was recorded, or of the process that was attached to
    :ivar began: UTC, ISO 8601
    """

    schema: str
    tool: str
    architecture: str
    kernel: str
    kernel_version: str
    cpu: Cpu
    command: tuple[str, ...]
    began: str


@dataclass(frozen=True, slots=True)
class PayloadLine:
    """Bytes that later lines refer to by their hash.

    A line may refer to a payload while at most 1023 payload lines have followed it; a writer
    repeats it after that.

    :ivar hash: the first 32 hexadecimal digits of the bytes' SHA-256
    :ivar size: number of bytes
    :ivar data: the bytes, compressed by zlib, in base64
    """

    hash: str
    size: int
    data: str


@dataclass(frozen=True, slots=True)
class ObjectLine:
    """An open file that calls are issued on, before the first of them.

    :ivar id: its name in later lines, such as vm0
    :ivar of: id of the VM of a vCPU, or of /dev/kvm that made the VM; absent if it was not seen
    :ivar number: of a vCPU: its id, the argument of KVM_CREATE_VCPU; absent if unknown
    :ivar link: what /proc/PID/fd showed, such as anon_inode:kvm-vcpu:0
    """

    id: str
    kind: ObjectKind
    link: str
    of: str | None = None
    number: int | None = None


@dataclass(frozen=True, slots=True)
class ProcessLine:
    """A change of a process.

    :ivar process: its number in later lines; fork and exec give a new one
    :ivar pid: its process id
    :ivar parent: of fork, the forking process; of exec, its number until then
    :ivar program: of start, attach and exec: path of the executable
    :ivar status: of exit: its exit status; of killed: the signal's number
    """

    order: int
    event: ProcessChange
    process: int
    pid: int
    parent: int | None = None
    program: str | None = None
    status: int | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """An ioctl of KVM's type other than KVM_RUN, after it returned.

    :ivar on: id of the object
    :ivar fd: the descriptor in that process
    :ivar request: the request number, 32 bits
    :ivar argument: the third argument: an address, or an integer
    :ivar result: what the kernel returned; a negative errno if it failed; absent if the thread
        ended within the call
    :ivar sent: payload: the structure before the call, with all entries of a table
    :ivar got: payload: the structure after the call, if the call writes it
    :ivar sent_value: payload: what the structure points to (KVM_SET_ONE_REG), before the call
    :ivar got_value: payload: what it points to (KVM_GET_ONE_REG, device attributes), after it
    :ivar unread: reasons why a payload is missing or short, by its name here
    """

    order: Order
    tid: int
    process: int
    on: str
    fd: int
    request: int
    argument: int
    result: int | None = None
    sent: str | None = None
    got: str | None = None
    sent_value: str | None = None
    got_value: str | None = None
    unread: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Permission:
    """An arch_prctl(2) call with one of the XCOMP codes.

    :ivar code: ARCH_GET_XCOMP_SUPP and so on, 0x1021 to 0x1025
    :ivar argument: number of a feature, or address of a bitmap
    :ivar result: as in a call
    :ivar bitmap: what the kernel wrote to that address
    :ivar unread: the reason why the bitmap is missing
    """

    order: Order
    tid: int
    process: int
    code: int
    argument: int
    result: int | None = None
    bitmap: int | None = None
    unread: str | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """A KVM_RUN that was recorded by itself.

    Areas are ``struct kvm_run`` from its start: 288 bytes, more if registers are shared
    (KVM_CAP_SYNC_REGS).

    :ivar result: as in a call
    :ivar sent: payload: the area before the call
    :ivar got: payload: the area after it
    :ivar unread: reasons why an area is missing, by its name here
    """

    order: Order
    tid: int
    process: int
    on: str
    fd: int
    result: int | None = None
    sent: str | None = None
    got: str | None = None
    unread: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Runs:
    """KVM_RUNs of a vCPU that were only counted, up to here.

    :ivar count: how many; absent if the recorder could not count: none, or any number
    :ivar why: why they could not be counted
    """

    order: int
    on: str
    count: int | None = None
    why: str | None = None


@dataclass(frozen=True, slots=True)
class Unread:
    """Something that is missing from the recording.

    :ivar what: what is missing
    :ivar why: what the kernel answered, or why the recorder does not record it
    """

    order: int
    process: int
    what: str
    why: str


@dataclass(frozen=True, slots=True)
class End:
    """The last line; without it the recording is truncated.

    :ivar calls: number of call, permission and run lines
    :ivar status: exit status of the command; 128 and the signal if it was killed
    """

    order: int
    reason: EndReason
    calls: int
    status: int | None = None


Line = (
    Header | PayloadLine | ObjectLine | ProcessLine | Call | Permission | Run | Runs | Unread | End
)
LINES: Mapping[str, Callable[..., Line]] = {
    "recording": Header,
    "payload": PayloadLine,
    "object": ObjectLine,
    "process": ProcessLine,
    "call": Call,
    "permission": Permission,
    "run": Run,
    "runs": Runs,
    "unread": Unread,
    "end": End,
}
"""The class of each ``type``.  There is one more, ``host``, whose form is free."""
NAMES: Mapping[Callable[..., Line], str] = {of: name for name, of in LINES.items()}
