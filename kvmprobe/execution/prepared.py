"""Lowered calls as ``struct kvmprobe_call``, which the executor (``kvmprobe/native``) issues.

Each call is prepared once, in the worker, which allocates all buffers before it forks a child.  A
child gets its own copy of a page when it, or the kernel on its behalf, writes to the page.
"""

from __future__ import annotations

import mmap
import struct
from typing import TYPE_CHECKING, Any, TypeAlias

from kvmprobe.abi import ioctls, payload
from kvmprobe.errors import ScenarioError
from kvmprobe.native._ffi import ffi, lib
from kvmprobe.scenarios.calls import (
    CANARY,
    ArchPrctl,
    Captured,
    Close,
    Immediate,
    Ioctl,
    LimitDescriptors,
    Literal,
    LiteralAtPageEnd,
    MapMemory,
    MapPayload,
    OpenKvm,
    Output,
    OutputAtPageEnd,
    OutputBehind,
    Relation,
    RunGuest,
    RunVcpu,
    SetAltStack,
    SharePayload,
    SleepingLiteral,
    Spawn,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kvmprobe.scenarios.calls import Argument, Call

CData: TypeAlias = Any  # cffi objects have no static type
# struct kvm_run from exit_reason to hardware_entry_failure_reason (abi/fields.py: KVM_RUN)
_EXIT_SIZE = 32
_RELATIONS = {
    Relation.THREAD: lib.KVMPROBE_THREAD,
    Relation.FORK: lib.KVMPROBE_FORK,
    Relation.SHARED_MM: lib.KVMPROBE_SHARED_MM,
    Relation.EXEC: lib.KVMPROBE_EXEC,
}


class Prepared:
    """One call for the executor; owns the buffers to which the call has pointers.

    :ivar call: ``struct kvmprobe_call *``
    :ivar address: the pointer's value
    """

    def __init__(self, lowered: Call) -> None:
        self.call: CData = ffi.new("struct kvmprobe_call *")
        self.address = int(ffi.cast("size_t", self.call))
        self._kept: list[CData] = []
        self.call.on = self._name(getattr(lowered, "on", ""))
        self.call.by = self._name(getattr(lowered, "by", ""))
        match lowered:
            case Ioctl():
                self._ioctl(lowered)
            case ArchPrctl():
                self._arch_prctl(lowered)
            case MapMemory():
                self._map(lowered)
            case MapPayload(_, memory):
                self.call.kind = lib.KVMPROBE_MAP_PAYLOAD
                self.call.memory = self._name(memory)
            case SharePayload(_, memory):
                self.call.kind = lib.KVMPROBE_SHARE_PAYLOAD
                self.call.memory = self._name(memory)
            case RunVcpu(_, immediate_exit):
                self.call.kind = lib.KVMPROBE_RUN
                self.call.argument = immediate_exit
                self._give_output(bytes(_EXIT_SIZE))
            case RunGuest():
                self._run_guest(lowered)
            case _:
                self._process(lowered)

    def remember(self, number: int, output: bytes) -> None:
        """Report this output by number from now on."""
        known = ffi.new("struct kvmprobe_known *", {"next": self.call.known, "number": number})
        # ABI: the executor compares call.size bytes.
        known.bytes = self._pointer(output.ljust(self.call.size, b"\0"))
        self.call.known = self._keep(known)

    def _process(self, lowered: OpenKvm | Close | SetAltStack | LimitDescriptors | Spawn) -> None:
        match lowered:
            case OpenKvm(binds):
                self.call.kind = lib.KVMPROBE_OPEN
                self.call.binds = self._name(binds)
            case Close():
                self.call.kind = lib.KVMPROBE_CLOSE
            case SetAltStack(size):
                self.call.kind = lib.KVMPROBE_ALT_STACK
                self.call.argument = size
            case LimitDescriptors():
                self.call.kind = lib.KVMPROBE_LIMIT
            case Spawn(binds, relation):
                self.call.kind = lib.KVMPROBE_SPAWN
                self.call.binds = self._name(binds)
                self.call.argument = _RELATIONS[relation]

    def _ioctl(self, lowered: Ioctl) -> None:
        self.call.kind = lib.KVMPROBE_IOCTL
        self.call.request = lowered.number
        self.call.binds = self._name(lowered.binds)
        match lowered.argument:
            case Literal(content):
                self._give_input(self._pointer(content), len(content))
            case LiteralAtPageEnd(content):
                self._give_input(self._at_page_end(content), len(content))
            case SleepingLiteral(content):
                self.call.kind = lib.KVMPROBE_SLEEPING
                pages = content.ljust(_whole_pages(max(len(content), 1)), b"\0")
                self._give_input(self._pointer(pages), len(pages))
            case Captured(name, patches):
                self.call.kind = lib.KVMPROBE_CAPTURED
                self.call.capture = self._name(name)
                self._give_patches(patches)
            case other:
                self._integer_or_output(other, lib.KVMPROBE_OUTPUT)

    def _arch_prctl(self, lowered: ArchPrctl) -> None:
        self.call.kind = lib.KVMPROBE_ARCH_PRCTL
        self.call.request = lowered.code
        self._integer_or_output(lowered.argument, lib.KVMPROBE_ARCH_PRCTL)

    def _integer_or_output(self, argument: Argument, kind_with_output: int) -> None:
        match argument:
            case Immediate(value):
                self.call.argument = value
            case Output(size, head, capture):
                self.call.kind = kind_with_output
                self.call.capture = self._name(capture)
                self._give_output(_blank(size, head))
            case OutputAtPageEnd(size, head):
                self.call.kind = kind_with_output
                self._give_output(_blank(size, head))
                self.call.output = self._at_page_end(_blank(size, head))
            case OutputBehind(head, pointer_offset, size, content):
                self.call.kind = kind_with_output
                self._give_output(_blank(len(head) + size, head + content))
                self._set_pointer(head, pointer_offset)
            case other:
                raise ScenarioError(f"the call cannot take this argument: {other!r:.100}")

    def _run_guest(self, lowered: RunGuest) -> None:
        command = lowered.command.ljust(payload.COMMAND_SIZE, b"\0")
        if max(len(command) - payload.COMMAND_SIZE, lowered.data_size) > payload.DATA_SIZE:
            raise ScenarioError(
                f"the guest command has too much data; the limit is {payload.DATA_SIZE} bytes"
            )
        self.call.kind = lib.KVMPROBE_RUN_GUEST
        self.call.memory = self._name(lowered.memory)
        self._give_input(self._pointer(command), len(command))
        self._give_output(bytes(payload.RESULT_SIZE + lowered.data_size))

    def _map(self, lowered: MapMemory) -> None:
        size = _whole_pages(len(lowered.content))
        # ISOLATION: private, so that only the child whose guest writes here sees the change.
        memory = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        memory.write(lowered.content)
        address = int(ffi.cast("size_t", self._pointer(memory)))
        region = ioctls.KVM_USERSPACE_MEMORY_REGION.packed
        place = region.pack(lowered.slot, 0, lowered.guest_address, size, address)
        self.call.kind = lib.KVMPROBE_IOCTL
        self.call.request = ioctls.SET_USER_MEMORY_REGION.number
        self._give_input(self._pointer(place), len(place))

    def _give_input(self, content: CData, size: int) -> None:
        self.call.argument = int(ffi.cast("size_t", content))
        self.call.input_size = size

    def _give_output(self, blank: bytes) -> None:
        self.call.size = len(blank)
        self.call.blank = self._pointer(blank)
        self.call.output = self._pointer(bytearray(blank))
        self.call.last = self._pointer(bytearray(blank))

    def _set_pointer(self, head: bytes, pointer_offset: int) -> None:
        address = int(ffi.cast("size_t", self.call.output)) + len(head)
        blank = bytearray(ffi.buffer(self.call.blank, self.call.size))
        struct.pack_into("=Q", blank, pointer_offset, address)
        self.call.blank = self._pointer(blank)

    def _give_patches(self, patches: Iterable[tuple[int, bytes]]) -> None:
        following = ffi.NULL
        for offset, content in reversed(tuple(patches)):
            patch = {"next": following, "offset": offset, "size": len(content)}
            following = self._keep(ffi.new("struct kvmprobe_patch *", patch))
            following.bytes = self._pointer(content)
        self.call.patches = following

    def _name(self, name: str) -> CData:
        """Return the name as a C string; the executor resolves it in each scenario."""
        return self._keep(ffi.new("char[]", name.encode())) if name else ffi.NULL

    def _at_page_end(self, content: bytes) -> CData:
        place = lib.kvmprobe_at_page_end(len(content))
        ffi.memmove(place, content, len(content))
        return place

    def _pointer(self, content: bytes | bytearray | mmap.mmap) -> CData:
        # LIFETIME: the view keeps the buffer alive and exported, so that it cannot move.
        return self._keep(ffi.from_buffer("uint8_t[]", content))

    def _keep(self, owner: CData) -> CData:
        self._kept.append(owner)
        return owner


def _blank(size: int, head: bytes) -> bytes:
    return head.ljust(size, bytes([CANARY]))


def _whole_pages(size: int) -> int:
    return -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
