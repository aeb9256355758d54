"""KVM's extensions, attributes and lists."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Annotated

from kvmprobe.abi import ioctls
from kvmprobe.abi.ioctls import Descriptor
from kvmprobe.abi.numbers import KVM_MAX_CPUID_ENTRIES, KvmCap
from kvmprobe.abi.tables import CPUID2, MSR_LIST
from kvmprobe.model import system
from kvmprobe.scenarios.calls import KVM, MAIN, Argument, Immediate, Literal, Output, OutputBehind
from kvmprobe.scenarios.op_fields import U32, U64, Caller, Name, Number, Room
from kvmprobe.scenarios.ops._base import FixedIoctl, op
from kvmprobe.scenarios.ops.lifecycle import by_whom
from kvmprobe.xstate.cpuid import LEAF_TILE, LEAF_TMUL, LEAF_XSTATE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvmprobe.model.machine import Machine
    from kvmprobe.model.outcome import Step

FewEntries = Annotated[int, Number(12)]
"""Fewer than the basic leaves of every table."""
TableRoom = Annotated[int, Number(KVM_MAX_CPUID_ENTRIES)]
"""The most entries that KVM looks at."""
_MSR_ROOM = 1024
_COUNT = {system.COUNT_FIELD: (0, "I")}
_XCOMP_GROUP = 0


def _cpuid_head(room: int, *, padding: bytes = bytes(12)) -> bytes:
    entry = bytes(CPUID2.entry.offset("padding")) + padding
    return CPUID2.head.packed.pack(room) + room * entry


def _msr_list(room: int) -> Output:
    return Output(MSR_LIST.offset(room), MSR_LIST.head.packed.pack(room))


@op(
    "check-extension",
    ioctls.CHECK_EXTENSION,
    system.CHECK_EXTENSION,
    on=(Descriptor.KVM, Descriptor.VM),
    errnos=(errno.EIO, errno.EBADF),
)
class CheckExtension(FixedIoctl):
    """Read one capability of /dev/kvm or of a VM."""

    cap: KvmCap
    on: Name = KVM
    by: Caller = MAIN

    def argument(self) -> Argument:
        return Immediate(self.cap)

    def transition(self, machine: Machine) -> Step:
        return system.check_extension(machine, self.cap, self.on, self.by)

    @property
    def text(self) -> str:
        return f"{self.kernel_call}(KVM_CAP_{self.cap.name}) on {self.on}{by_whom(self.by)}"


@op(
    "has-device-attr",
    ioctls.HAS_DEVICE_ATTR,
    system.HAS_DEVICE_ATTR,
    errnos=(errno.ENXIO,),
)
class HasDeviceAttr(FixedIoctl):
    """Test whether /dev/kvm has an attribute."""

    attr: U64 = 0
    group: U32 = _XCOMP_GROUP
    flags: U32 = 0

    def argument(self) -> Argument:
        attribute = ioctls.KVM_DEVICE_ATTR.packed.pack(self.flags, self.group, self.attr, 0)
        return Literal(attribute)

    def transition(self, machine: Machine) -> Step:
        return system.has_device_attr(machine, self.group, self.attr)

    @property
    def text(self) -> str:
        return f"{self.kernel_call}({self.group}, {self.attr}, flags {self.flags})"


@op(
    "get-device-attr",
    ioctls.GET_DEVICE_ATTR,
    system.GET_DEVICE_ATTR,
    errnos=(errno.ENXIO,),
    output={system.VALUE_FIELD: (ioctls.KVM_DEVICE_ATTR.size, "Q")},
)
class GetDeviceAttr(FixedIoctl):
    """Read an attribute of /dev/kvm."""

    attr: U64 = 0
    group: U32 = _XCOMP_GROUP
    flags: U32 = 0

    def argument(self) -> Argument:
        attribute = ioctls.KVM_DEVICE_ATTR.packed.pack(self.flags, self.group, self.attr, 0)
        return OutputBehind(attribute, ioctls.KVM_DEVICE_ATTR.offset("addr"), 8)

    def transition(self, machine: Machine) -> Step:
        return system.get_device_attr(machine, self.group, self.attr)

    @property
    def text(self) -> str:
        return f"{self.kernel_call}({self.group}, {self.attr}, flags {self.flags})"


@op(
    "get-device-attr-to-nowhere",
    ioctls.GET_DEVICE_ATTR,
    system.GET_DEVICE_ATTR_TO_NOWHERE,
    errnos=(errno.EFAULT, errno.ENXIO),
    operand="NULL",
)
class GetDeviceAttrToNowhere(FixedIoctl):
    """Read an attribute of /dev/kvm to a null pointer."""

    attr: U64 = 0
    group: U32 = _XCOMP_GROUP

    def argument(self) -> Argument:
        attribute = ioctls.KVM_DEVICE_ATTR.packed.pack(0, self.group, self.attr, 0)
        return Literal(attribute)

    def transition(self, machine: Machine) -> Step:
        return system.get_device_attr_to_nowhere(machine, self.group, self.attr)

    @property
    def text(self) -> str:
        return f"KVM_GET_DEVICE_ATTR({self.group}, {self.attr}) to NULL"


@op("get-msr-index-list", ioctls.GET_MSR_INDEX_LIST, system.GET_MSR_INDEX_LIST)
class GetMsrIndexList(FixedIoctl):
    """Read the list of MSRs that KVM saves and restores."""

    def argument(self) -> Argument:
        return _msr_list(_MSR_ROOM)

    def transition(self, machine: Machine) -> Step:
        return system.get_msr_index_list(machine)

    def read(self, output: bytes) -> Mapping[str, int]:
        count = MSR_LIST.count(output)
        listed = {index for (index,) in MSR_LIST.entries(output, min(count, _MSR_ROOM))}
        has = {name: int(index in listed) for name, index in system.LISTED_MSRS.items()}
        return {system.COUNT_FIELD: count, **has}


@op(
    "get-msr-index-list-short",
    ioctls.GET_MSR_INDEX_LIST,
    system.GET_MSR_INDEX_LIST_SHORT,
    errnos=(errno.E2BIG,),
    output=_COUNT,
)
class GetMsrIndexListShort(FixedIoctl):
    """Read it with ``room`` for a few MSRs only."""

    room: Room

    def argument(self) -> Argument:
        return _msr_list(self.room)

    def transition(self, machine: Machine) -> Step:
        return system.get_msr_index_list_short(machine, self.room)

    @property
    def text(self) -> str:
        return f"{self.kernel_call} with room for {self.room}"


@op(
    "get-emulated-cpuid",
    ioctls.GET_EMULATED_CPUID,
    system.GET_EMULATED_CPUID,
    errnos=(errno.E2BIG,),
)
class GetEmulatedCpuid(FixedIoctl):
    """Read the features that KVM emulates whether the host has them or not."""

    room: Room

    def argument(self) -> Argument:
        head = _cpuid_head(self.room)
        return Output(len(head), head)

    def transition(self, machine: Machine) -> Step:
        return system.get_emulated_cpuid(machine, self.room)

    def read(self, output: bytes) -> Mapping[str, int]:
        count, of_xstate = CPUID2.count(output), {LEAF_XSTATE, LEAF_TILE, LEAF_TMUL}
        leaves = sum(leaf in of_xstate for leaf, *_ in CPUID2.entries(output, count))
        return {system.COUNT_FIELD: count, system.XSTATE_LEAVES_FIELD: leaves}

    @property
    def text(self) -> str:
        return f"{self.kernel_call} with room for {self.room}"


@op(
    "get-emulated-cpuid-padded",
    ioctls.GET_EMULATED_CPUID,
    system.GET_EMULATED_CPUID_PADDED,
    errnos=(errno.EINVAL, errno.E2BIG),
    output=_COUNT,
)
class GetEmulatedCpuidPadded(FixedIoctl):
    """Read it into a table whose padding is not zero."""

    room: TableRoom

    def argument(self) -> Argument:
        head = bytearray(_cpuid_head(self.room))
        # One bit in the last word of the last entry's padding.
        if self.room:
            head[-1] = 0x80
        return Output(len(head), bytes(head))

    def transition(self, machine: Machine) -> Step:
        return system.get_emulated_cpuid_padded(machine, self.room)

    @property
    def text(self) -> str:
        return f"{self.kernel_call} with padding and room for {self.room}"


@op(
    "get-supported-cpuid-short",
    ioctls.GET_SUPPORTED_CPUID,
    system.GET_SUPPORTED_CPUID_SHORT,
    errnos=(errno.E2BIG,),
    output=_COUNT,
)
class GetSupportedCpuidShort(FixedIoctl):
    """Read KVM's table with ``room`` for a few entries only, in padding that is not zero."""

    room: FewEntries

    def argument(self) -> Argument:
        head = _cpuid_head(self.room, padding=b"\xff" * 12)
        return Output(len(head), head)

    def transition(self, machine: Machine) -> Step:
        return system.get_supported_cpuid_short(machine, self.room)

    @property
    def text(self) -> str:
        return f"{self.kernel_call} with room for {self.room}"
