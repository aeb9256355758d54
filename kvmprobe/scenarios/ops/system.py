"""What KVM tells of itself: extensions, attributes, lists."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from kvmprobe.abi import ioctls
from kvmprobe.abi.numbers import KvmCap
from kvmprobe.model import system
from kvmprobe.scenarios.calls import (
    MAIN,
    Call,
    Immediate,
    Ioctl,
    Literal,
    Output,
    OutputBehind,
)
from kvmprobe.scenarios.ops._base import Op, op
from kvmprobe.scenarios.ops.lifecycle import KVM, by_whom
from kvmprobe.xstate.cpuid import LEAF_TILE, LEAF_TMUL, LEAF_XSTATE, CpuidTable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvmprobe.model.host import HostProfile
    from kvmprobe.model.machine import Machine
    from kvmprobe.model.outcome import Step

_MSR_ROOM = 1024
_ENTRY_SIZE = 40
_PADDING_OFFSET = 28
_COUNT: Mapping[str, tuple[int, str]] = {system.COUNT_FIELD: (0, "I")}
_XCOMP_GROUP = 0
_API = "Documentation/virt/kvm/api.rst"


def _cpuid_head(room: int, *, padding: bytes = bytes(12)) -> bytes:
    entry = bytes(_PADDING_OFFSET) + padding
    return struct.pack("=II", room, 0) + room * entry


@op(
    "check-extension",
    "KVM_CHECK_EXTENSION",
    f"{_API}: KVM_CHECK_EXTENSION",
    "arch/x86/kvm/x86.c: kvm_vm_ioctl_check_extension",
    errnos={
        "EIO": "the VM belongs to another process's memory",
        "EBADF": "the descriptor was closed",
    },
)
@dataclass(frozen=True, slots=True)
class CheckExtension(Op):
    """Ask for one capability, on /dev/kvm or on a VM."""

    cap: KvmCap
    on: str = KVM
    by: str = MAIN

    def __post_init__(self) -> None:
        """Accept the capability's number."""
        object.__setattr__(self, "cap", KvmCap(self.cap))

    def lower(self, host: HostProfile) -> Call:  # noqa: ARG002
        """Lower to the ioctl."""
        return Ioctl(ioctls.CHECK_EXTENSION.number, self.on, Immediate(self.cap), by=self.by)

    def step(self, machine: Machine) -> Step:
        """Expect what is offered."""
        return system.check_extension(machine, self.cap, self.on, self.by)

    @property
    def text(self) -> str:
        """Name capability, descriptor and caller."""
        return f"{self.kernel_call}(KVM_CAP_{self.cap.name}) on {self.on}{by_whom(self.by)}"


@op(
    "has-device-attr",
    "KVM_HAS_DEVICE_ATTR",
    f"{_API}: KVM_HAS_DEVICE_ATTR",
    "arch/x86/kvm/x86.c: kvm_x86_dev_has_attr",
    errnos={"ENXIO": "no such attribute"},
)
@dataclass(frozen=True, slots=True)
class HasDeviceAttr(Op):
    """Ask /dev/kvm whether it has an attribute."""

    attr: int = 0
    group: int = _XCOMP_GROUP
    flags: int = 0

    def lower(self, host: HostProfile) -> Call:  # noqa: ARG002
        """Lower to ``struct kvm_device_attr`` with a null address."""
        attribute = struct.pack("=IIQQ", self.flags, self.group, self.attr, 0)
        return Ioctl(ioctls.HAS_DEVICE_ATTR.number, KVM, Literal(attribute))

    def step(self, machine: Machine) -> Step:
        """Expect the one attribute that there is."""
        return system.has_device_attr(machine, self.group, self.attr)

    @property
    def text(self) -> str:
        """Name the attribute."""
        return f"{self.kernel_call}({self.group}, {self.attr}, flags {self.flags})"


@op(
    "get-device-attr",
    "KVM_GET_DEVICE_ATTR",
    f"{_API}: KVM_GET_DEVICE_ATTR",
    "arch/x86/kvm/x86.c: kvm_x86_dev_get_attr",
    errnos={"ENXIO": "no such attribute"},
)
@dataclass(frozen=True, slots=True)
class GetDeviceAttr(Op):
    """Read an attribute of /dev/kvm."""

    output_fields: ClassVar[Mapping[str, tuple[int, str]]] = {system.VALUE_FIELD: (24, "Q")}
    attr: int = 0
    group: int = _XCOMP_GROUP
    flags: int = 0

    def lower(self, host: HostProfile) -> Call:  # noqa: ARG002
        """Lower to ``struct kvm_device_attr`` with the address of 8 bytes."""
        attribute = struct.pack("=IIQQ", self.flags, self.group, self.attr, 0)
        return Ioctl(ioctls.GET_DEVICE_ATTR.number, KVM, OutputBehind(attribute, 16, 8))

    def step(self, machine: Machine) -> Step:
        """Expect all that KVM can give guests."""
        return system.get_device_attr(machine, self.group, self.attr)

    @property
    def text(self) -> str:
        """Name the attribute."""
        return f"{self.kernel_call}({self.group}, {self.attr}, flags {self.flags})"


@op(
    "get-device-attr-to-nowhere",
    "KVM_GET_DEVICE_ATTR(NULL)",
    f"{_API}: KVM_GET_DEVICE_ATTR",
    "arch/x86/kvm/x86.c: kvm_x86_dev_get_attr",
    errnos={"EFAULT": "there is nothing at the address", "ENXIO": "no such attribute"},
)
@dataclass(frozen=True, slots=True)
class GetDeviceAttrToNowhere(Op):
    """Read an attribute of /dev/kvm to a null pointer."""

    attr: int = 0
    group: int = _XCOMP_GROUP

    def lower(self, host: HostProfile) -> Call:  # noqa: ARG002
        """Lower to ``struct kvm_device_attr`` with a null address."""
        attribute = struct.pack("=IIQQ", 0, self.group, self.attr, 0)
        return Ioctl(ioctls.GET_DEVICE_ATTR.number, KVM, Literal(attribute))

    def step(self, machine: Machine) -> Step:
        """Expect EFAULT, if there is such an attribute."""
        return system.get_device_attr_to_nowhere(machine, self.group, self.attr)

    @property
    def text(self) -> str:
        """Name the attribute."""
        return f"KVM_GET_DEVICE_ATTR({self.group}, {self.attr}) to NULL"


@op("get-msr-index-list", "KVM_GET_MSR_INDEX_LIST", f"{_API}: KVM_GET_MSR_INDEX_LIST")
@dataclass(frozen=True, slots=True)
class GetMsrIndexList(Op):
    """Read which MSRs KVM saves and restores."""

    def lower(self, host: HostProfile) -> Call:  # noqa: ARG002
        """Lower to a list with room for more than there are."""
        size = 4 + 4 * _MSR_ROOM
        output = Output(size, struct.pack("=I", _MSR_ROOM))
        return Ioctl(ioctls.GET_MSR_INDEX_LIST.number, KVM, output)

    def step(self, machine: Machine) -> Step:
        """Expect those of XSTATE if KVM supports them."""
        return system.get_msr_index_list(machine)

    def read(self, output: bytes, host: HostProfile) -> Mapping[str, int]:  # noqa: ARG002
        """Read the count, and which of XSTATE's are in the list."""
        (count,) = struct.unpack_from("=I", output)
        listed = struct.unpack_from(f"={min(count, _MSR_ROOM)}I", output, 4)
        has = {name: int(index in listed) for name, index in system.LISTED_MSRS.items()}
        return {system.COUNT_FIELD: count, **has}


@op(
    "get-msr-index-list-short",
    "KVM_GET_MSR_INDEX_LIST",
    f"{_API}: KVM_GET_MSR_INDEX_LIST",
    "arch/x86/kvm/x86.c: kvm_arch_dev_ioctl",
    errnos={"E2BIG": "there are more than the list has room for"},
)
@dataclass(frozen=True, slots=True)
class GetMsrIndexListShort(Op):
    """Read it with ``room`` for a few only."""

    output_fields: ClassVar[Mapping[str, tuple[int, str]]] = _COUNT
    room: int

    def lower(self, host: HostProfile) -> Call:  # noqa: ARG002
        """Lower to a short list."""
        head = struct.pack("=I", self.room)
        return Ioctl(ioctls.GET_MSR_INDEX_LIST.number, KVM, Output(4 + 4 * self.room, head))

    def step(self, machine: Machine) -> Step:
        """Expect E2BIG and the count."""
        return system.get_msr_index_list_short(machine, self.room)

    @property
    def text(self) -> str:
        """Name the room."""
        return f"{self.kernel_call} with room for {self.room}"


@op(
    "get-emulated-cpuid",
    "KVM_GET_EMULATED_CPUID",
    f"{_API}: KVM_GET_EMULATED_CPUID",
    "arch/x86/kvm/cpuid.c: __do_cpuid_func_emulated",
    errnos={"E2BIG": "there are more entries than the table has room for"},
)
@dataclass(frozen=True, slots=True)
class GetEmulatedCpuid(Op):
    """Read what KVM emulates whether the host has it or not."""

    room: int

    def lower(self, host: HostProfile) -> Call:  # noqa: ARG002
        """Lower to a zeroed table."""
        head = _cpuid_head(self.room)
        return Ioctl(ioctls.GET_EMULATED_CPUID.number, KVM, Output(len(head), head))

    def step(self, machine: Machine) -> Step:
        """Expect no leaf of XSTATE."""
        return system.get_emulated_cpuid(machine, self.room)

    def read(self, output: bytes, host: HostProfile) -> Mapping[str, int]:  # noqa: ARG002
        """Read the count, and count the leaves of XSTATE."""
        (count,) = struct.unpack_from("=I", output)
        held = min(count, (len(output) - 8) // _ENTRY_SIZE)
        table = CpuidTable.from_bytes(struct.pack("=I", held) + output[4:])
        of_xstate = {LEAF_XSTATE, LEAF_TILE, LEAF_TMUL}
        leaves = sum(entry.leaf in of_xstate for entry in table.entries)
        return {system.COUNT_FIELD: count, system.XSTATE_LEAVES_FIELD: leaves}

    @property
    def text(self) -> str:
        """Name the room."""
        return f"{self.kernel_call} with room for {self.room}"


@op(
    "get-emulated-cpuid-padded",
    "KVM_GET_EMULATED_CPUID",
    "arch/x86/kvm/cpuid.c: sanity_check_entries",
    errnos={"EINVAL": "an entry's padding is not zero", "E2BIG": "no room at all"},
)
@dataclass(frozen=True, slots=True)
class GetEmulatedCpuidPadded(Op):
    """Read it into a table whose padding is not zero."""

    output_fields: ClassVar[Mapping[str, tuple[int, str]]] = _COUNT
    room: int

    def lower(self, host: HostProfile) -> Call:  # noqa: ARG002
        """Lower to a table with one bit in the last word of the last entry's padding."""
        head = bytearray(_cpuid_head(self.room))
        if self.room:
            head[-1] = 0x80
        return Ioctl(ioctls.GET_EMULATED_CPUID.number, KVM, Output(len(head), bytes(head)))

    def step(self, machine: Machine) -> Step:
        """Expect EINVAL."""
        return system.get_emulated_cpuid_padded(machine, self.room)

    @property
    def text(self) -> str:
        """Name the room."""
        return f"{self.kernel_call} with padding and room for {self.room}"


@op(
    "get-supported-cpuid-short",
    "KVM_GET_SUPPORTED_CPUID",
    f"{_API}: KVM_GET_SUPPORTED_CPUID",
    "arch/x86/kvm/cpuid.c: kvm_dev_ioctl_get_cpuid",
    errnos={"E2BIG": "there are more entries than the table has room for"},
)
@dataclass(frozen=True, slots=True)
class GetSupportedCpuidShort(Op):
    """Read KVM's table with ``room`` for a few entries only, in padding that is not zero."""

    output_fields: ClassVar[Mapping[str, tuple[int, str]]] = _COUNT
    room: int

    def lower(self, host: HostProfile) -> Call:  # noqa: ARG002
        """Lower to a short table."""
        head = _cpuid_head(self.room, padding=b"\xff" * 12)
        return Ioctl(ioctls.GET_SUPPORTED_CPUID.number, KVM, Output(len(head), head))

    def step(self, machine: Machine) -> Step:
        """Expect E2BIG."""
        return system.get_supported_cpuid_short(machine, self.room)

    @property
    def text(self) -> str:
        """Name the room."""
        return f"{self.kernel_call} with room for {self.room}"
