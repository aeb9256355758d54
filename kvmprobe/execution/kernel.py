"""Lowered calls in the form that the compiled executor (``cdefs/executor.c``) issues.

Every call is prepared once, in the worker: its buffers have their places before a child is forked,
and a child gets its own copy of a page when it, or the kernel for it, writes there.
"""

from __future__ import annotations

import mmap
import os
import struct
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from kvmprobe.abi import ioctls
from kvmprobe.bindings._ffi import ffi, lib
from kvmprobe.errors import ScenarioError, WorkerError
from kvmprobe.execution.transport import CHANNEL_PORT
from kvmprobe.scenarios.calls import (
    CANARY,
    ArchPrctl,
    Captured,
    Immediate,
    Ioctl,
    Literal,
    MapMemory,
    OpenKvm,
    Output,
    RunVcpu,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvmprobe.scenarios.calls import Call

CData: TypeAlias = Any  # cffi's objects have no types
EXIT_DONE: int = lib.KVMPROBE_DONE
EXIT_HELD: int = lib.KVMPROBE_HELD
EXIT_BROKEN: int = lib.KVMPROBE_BROKEN
_EXIT_REASON_SIZE = 4
_NONE = -1
_ENDED = struct.Struct("=2i")


class Names:
    """Small numbers for the names of descriptors, or of captures."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._numbers: dict[str, int] = {}

    def number(self, name: str) -> int:
        """Return the name's number.

        :raises ScenarioError: too many names
        """
        if not name:
            return _NONE
        number = self._numbers.setdefault(name, len(self._numbers))
        if number >= self._limit:
            raise ScenarioError(f"more than {self._limit} names of one kind: {name}")
        return number


class Prepared:
    """One call as the executor takes it; keeps alive what it refers to by address.

    :ivar call: ``struct kvmprobe_call *``
    :ivar address: the same as a number
    """

    def __init__(self, lowered: Call, descriptors: Names, captures: Names) -> None:
        self.call: CData = ffi.new("struct kvmprobe_call *", {"binds": _NONE, "capture": _NONE})
        self.address = int(ffi.cast("size_t", self.call))
        self._descriptors, self._captures = descriptors, captures
        self._kept: list[CData] = []
        self.call.on = descriptors.number(getattr(lowered, "on", ""))
        match lowered:
            case OpenKvm(binds):
                self.call.kind = lib.KVMPROBE_OPEN
                self.call.binds = descriptors.number(binds)
            case ArchPrctl(code, feature_nr):
                self.call.kind = lib.KVMPROBE_ARCH_PRCTL
                self.call.request, self.call.argument = code, feature_nr
            case RunVcpu(_, immediate_exit):
                self.call.kind = lib.KVMPROBE_RUN
                self.call.argument = immediate_exit
                self._give_output(bytes(_EXIT_REASON_SIZE))
            case MapMemory():
                self._map(lowered)
            case Ioctl():
                self._ioctl(lowered)

    def remember(self, number: int, output: bytes) -> None:
        """Have this output told by number from now on."""
        known = ffi.new("struct kvmprobe_known *", {"next": self.call.known, "number": number})
        # ABI: the executor compares call.size bytes.
        known.bytes = self._pointer(output.ljust(self.call.size, b"\0"))
        self.call.known = self._keep(known)

    def _ioctl(self, lowered: Ioctl) -> None:
        self.call.kind = lib.KVMPROBE_IOCTL
        self.call.request = lowered.number
        self.call.binds = self._descriptors.number(lowered.binds)
        match lowered.argument:
            case Immediate(value):
                self.call.argument = value
            case Literal(content):
                self.call.argument = self._address(content)
            case Captured(name):
                self.call.kind = lib.KVMPROBE_CAPTURED
                self.call.capture = self._captures.number(name)
            case Output(size, head, capture):
                self.call.kind = lib.KVMPROBE_OUTPUT
                self.call.capture = self._captures.number(capture)
                self._give_output(head.ljust(size, bytes([CANARY])))

    def _map(self, lowered: MapMemory) -> None:
        size = -(-len(lowered.content) // mmap.PAGESIZE) * mmap.PAGESIZE
        # ISOLATION: private, so that what a guest writes is its own child's only.
        memory = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        memory.write(lowered.content)
        place = (lowered.slot, 0, lowered.guest_address, size, self._address(memory))
        self.call.kind = lib.KVMPROBE_IOCTL
        self.call.request = ioctls.SET_USER_MEMORY_REGION.number
        self.call.argument = self._address(struct.pack("=IIQQQ", *place))

    def _give_output(self, blank: bytes) -> None:
        self.call.size = len(blank)
        self.call.blank = self._pointer(blank)
        self.call.output = self._pointer(bytearray(blank))
        self.call.last = self._pointer(bytearray(blank))

    def _address(self, content: bytes | mmap.mmap) -> int:
        return int(ffi.cast("size_t", self._pointer(content)))

    def _pointer(self, content: bytes | bytearray | mmap.mmap) -> CData:
        # LIFETIME: the view keeps the buffer alive, and exported, so that it stays in place.
        return self._keep(ffi.from_buffer("uint8_t[]", content))

    def _keep(self, owner: CData) -> CData:
        self._kept.append(owner)
        return owner


class Ended(NamedTuple):
    """How a process ended; ``status`` as ``waitpid`` tells it."""

    timed_out: int
    status: int


def watch(pid: int, seconds: float) -> Ended:
    """Wait for a child; kill it when the time is up."""
    ended = lib.kvmprobe_watch(pid, round(seconds * 1000))
    return Ended(ended.timed_out, ended.status)


class Zygote:
    """A copy of this process, as it is now, that forks scenarios and does nothing else."""

    def __init__(self, session: CData) -> None:
        request_end, self._requests = os.pipe()
        self._answers, answer_end = os.pipe()
        own_ends = (self._requests, self._answers)
        self._pid = int(lib.kvmprobe_zygote(session, request_end, answer_end, own_ends))
        os.close(request_end)
        os.close(answer_end)
        if self._pid < 0:
            raise WorkerError(f"fork: {os.strerror(-self._pid)}")

    def run(self, request: tuple[int, ...], addresses: Sequence[int]) -> Ended:
        """Run ``struct kvmprobe_request`` with the calls at these addresses."""
        if len(addresses) > lib.KVMPROBE_ADDRESSES:
            raise WorkerError(f"a scenario of {len(addresses)} calls is too long")
        os.write(
            self._requests,
            struct.pack(f"=5i{len(addresses)}Q", *request, len(addresses), *addresses),
        )
        answer = os.read(self._answers, _ENDED.size)
        if len(answer) < _ENDED.size:
            raise WorkerError("the process that forks scenarios is gone")
        return Ended(*_ENDED.unpack(answer))

    def close(self) -> None:
        """End it."""
        os.close(self._requests)
        os.close(self._answers)
        os.waitpid(self._pid, 0)


class Session:
    """The state that every scenario's child begins with, and the calls defined so far."""

    def __init__(self, device: str, log_fd: int, out_fd: int) -> None:
        self._device = ffi.new("char[]", os.fsencode(device))
        self._session = ffi.new(
            "struct kvmprobe_session *",
            {
                "device": self._device,
                "log_fd": log_fd,
                "out_fd": out_fd,
                "out_port": CHANNEL_PORT,
                "fds": [_NONE] * lib.KVMPROBE_DESCRIPTORS,
            },
        )
        self._names = Names(lib.KVMPROBE_DESCRIPTORS), Names(lib.KVMPROBE_CAPTURES)
        self._calls: dict[int, Prepared] = {}
        self._zygote: Zygote | None = None

    def define(self, number: int, lowered: Call) -> None:
        """Prepare a call under a number."""
        self._retire()
        self._calls[number] = Prepared(lowered, *self._names)

    def remember(self, call_number: int, number: int, output: bytes) -> None:
        """Have an output of this call told by number from now on."""
        self._retire()
        self._calls[call_number].remember(number, output)

    def run(self, number: int, steps: Sequence[Sequence[int]], hold: int, seconds: float) -> Ended:
        """Run a scenario in a new process.

        :param hold: 1 stops before a load that the last read-back shows to be fatal
        :param seconds: kill it then
        :raises WorkerError: the zygote is gone
        """
        if self._zygote is None:
            self._zygote = Zygote(self._session)
        addresses = [a for step in steps for a in (*(self._calls[n].address for n in step), 0)]
        return self._zygote.run((number, hold, round(seconds * 1000), len(steps)), addresses)

    def _retire(self) -> None:
        """Let the zygote go: it does not know what comes now."""
        if self._zygote is not None:
            self._zygote.close()
            self._zygote = None
