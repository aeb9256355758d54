"""Supported CPUID, and the size of an image; setting and reading a vCPU's CPUID."""

from __future__ import annotations

import errno
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated

from kvmprobe.abi import ioctls
from kvmprobe.abi.ioctls import Descriptor
from kvmprobe.abi.numbers import KVM_MAX_CPUID_ENTRIES, KvmCap
from kvmprobe.abi.tables import CPUID2
from kvmprobe.model import cpuid, guest_cpuid
from kvmprobe.model.behaviours import Behaviour
from kvmprobe.model.machine import MAIN, GuestCpuid
from kvmprobe.scenarios.calls import VCPU, Argument, Captured, Immediate, Literal, Output
from kvmprobe.scenarios.cpuid_tables import CAPTURED, Table, table, version_1
from kvmprobe.scenarios.op_fields import U32, Caller, Name, Number
from kvmprobe.scenarios.ops._base import FixedIoctl, HostIoctl, op
from kvmprobe.scenarios.ops.lifecycle import on_which
from kvmprobe.scenarios.ops.xsave import at_page_end
from kvmprobe.xstate.cpuid import CpuidTable
from kvmprobe.xstate.cpuid_values import XCR0_FIELD, named_values

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvmprobe.model.host import HostProfile
    from kvmprobe.model.machine import Machine
    from kvmprobe.model.outcome import Step

SUPPORTED, READ_BACK = "supported-cpuid", "read-back-cpuid"
_CAPTURES = {Table.SUPPORTED: SUPPORTED, Table.READ_BACK: READ_BACK}
_TABLE_SIZE = CPUID2.offset(KVM_MAX_CPUID_ENTRIES)
CutOff = Annotated[int, Number(CPUID2.offset(1) - 1)]
"""Bytes of a table with one entry, but not all of them."""


@lru_cache(maxsize=16)
def _leaf_xstate(output: bytes) -> tuple[int, int]:
    found = CpuidTable.from_bytes(output)
    return found.xcr0, found.xstate_size


@lru_cache(maxsize=16)
def _guest_values(output: bytes) -> Mapping[str, int]:
    table = CpuidTable.from_bytes(output)
    return {guest_cpuid.NENT_FIELD: len(table.entries), **named_values(table)}


@op(
    "get-supported-cpuid",
    ioctls.GET_SUPPORTED_CPUID,
    cpuid.GET_SUPPORTED,
    errnos=(errno.EBADF,),
)
class GetSupportedCpuid(FixedIoctl):
    """Read and keep what KVM supports with the caller's current permission."""

    by: Caller = MAIN
    keeps = SUPPORTED

    def argument(self) -> Argument:
        head = CPUID2.head.packed.pack(KVM_MAX_CPUID_ENTRIES)
        return Output(_TABLE_SIZE, head, capture=SUPPORTED)

    def transition(self, machine: Machine) -> Step:
        return cpuid.get_supported(machine, SUPPORTED, self.by)

    def read(self, output: bytes) -> Mapping[str, int]:
        xcr0, size = _leaf_xstate(output)
        return {XCR0_FIELD: xcr0, cpuid.SIZE_FIELD: size}


@op(
    "check-xsave2",
    ioctls.CHECK_EXTENSION,
    cpuid.CHECK_XSAVE2,
    on=Descriptor.VM,
    operand="KVM_CAP_XSAVE2",
)
class CheckXsave2(FixedIoctl):
    """Read the size of the uabi image from the VM."""

    def argument(self) -> Argument:
        return Immediate(KvmCap.XSAVE2)

    def transition(self, machine: Machine) -> Step:
        return cpuid.check_xsave2(machine)


@op(
    "set-cpuid2",
    ioctls.SET_CPUID2,
    guest_cpuid.SET_CPUID2,
    guest_cpuid.SET_CPUID2_AFTER_RUN,
    guest_cpuid.CHECK_ADDRESS_BITS,
    errnos=(errno.EPERM, errno.EINVAL, errno.E2BIG, errno.EFAULT, errno.EIO, errno.EBADF),
)
class SetCpuid2(HostIoctl):
    """Give the vCPU a table: what get-supported-cpuid kept, or a variant."""

    table: Table = Table.SUPPORTED
    by: Caller = MAIN
    vcpu: Name = VCPU

    def argument(self, host: HostProfile) -> Argument:
        if self.table in CAPTURED:
            return Captured(_CAPTURES[self.table])
        return Literal(table(host, self.table).to_bytes())

    def transition(self, machine: Machine) -> Step:
        return guest_cpuid.set_cpuid2(machine, self.vcpu, _value(machine, self.table), self.by)

    @property
    def text(self) -> str:
        return f"{self.kernel_call}({self.table}){on_which(self.vcpu, self.by)}"


def _value(machine: Machine, variant: Table) -> GuestCpuid:
    if variant in CAPTURED:
        return machine.captured[_CAPTURES[variant]]
    return GuestCpuid.of(table(machine.host, variant))


@op(
    "set-cpuid",
    ioctls.SET_CPUID,
    guest_cpuid.SET_CPUID2,
    guest_cpuid.SET_CPUID2_AFTER_RUN,
    guest_cpuid.CHECK_ADDRESS_BITS,
    errnos=SetCpuid2.errnos,
)
class SetCpuid(HostIoctl):
    """Give the vCPU the part of a variant that the older structure can hold: subleaf 0."""

    table: Table

    def argument(self, host: HostProfile) -> Argument:
        return Literal(version_1(host, self.table).to_version_1())

    def transition(self, machine: Machine) -> Step:
        value = GuestCpuid.of(version_1(machine.host, self.table))
        return guest_cpuid.set_cpuid2(machine, VCPU, value)

    @property
    def text(self) -> str:
        return f"{self.kernel_call}({self.table})"


@op(
    "set-too-many-cpuid2",
    ioctls.SET_CPUID2,
    guest_cpuid.SET_TOO_MANY,
    errnos=(errno.E2BIG,),
)
class SetTooManyCpuid2(FixedIoctl):
    """Give a table of 257 entries."""

    def argument(self) -> Argument:
        return Literal(CPUID2.with_room(KVM_MAX_CPUID_ENTRIES + 1))

    def transition(self, machine: Machine) -> Step:
        return guest_cpuid.set_too_many(machine)

    @property
    def text(self) -> str:
        return f"{self.kernel_call}(257 entries)"


@op(
    "set-cut-off-cpuid2",
    ioctls.SET_CPUID2,
    guest_cpuid.SET_UNREADABLE,
    errnos=(errno.EFAULT,),
)
class SetCutOffCpuid2(FixedIoctl):
    """Give a table whose last bytes cannot be read.

    :ivar size: readable bytes of the header and one entry
    """

    size: CutOff

    def argument(self) -> Argument:
        return at_page_end(CPUID2.with_room(1)[: self.size])

    def transition(self, machine: Machine) -> Step:
        return guest_cpuid.set_unreadable(machine)

    @property
    def text(self) -> str:
        return f"{self.kernel_call}({self.size} bytes of 48)"


@op(
    "get-cpuid2",
    ioctls.GET_CPUID2,
    guest_cpuid.GET_CPUID2,
    errnos=(errno.E2BIG, errno.EIO, errno.EBADF),
)
class GetCpuid2(FixedIoctl):
    """Read the vCPU's table, and keep it if there is room for any table.

    :ivar room: entries that the caller claims to have room for
    """

    room: U32 = KVM_MAX_CPUID_ENTRIES
    by: Caller = MAIN

    def argument(self) -> Argument:
        # A table of zeros: not every kernel returns the number of entries that it wrote.
        head = CPUID2.head.packed.pack(self.room).ljust(_TABLE_SIZE, b"\0")
        return Output(_TABLE_SIZE, head, capture=self._kept_as)

    def transition(self, machine: Machine) -> Step:
        return guest_cpuid.get_cpuid2(machine, VCPU, self._kept_as, self.room, self.by)

    def refused(self, machine: Machine) -> str:
        keeps = Behaviour.GET_CPUID2_KEEPS_NENT in machine.host.behaviours
        beyond = self.room > KVM_MAX_CPUID_ENTRIES and keeps
        return "this kernel returns the room, more than the buffer has" if beyond else ""

    def read(self, output: bytes) -> Mapping[str, int]:
        return _guest_values(output)

    @property
    def _kept_as(self) -> str:
        return READ_BACK if self.room == KVM_MAX_CPUID_ENTRIES else ""

    @property
    def text(self) -> str:
        limited = self.room != KVM_MAX_CPUID_ENTRIES
        return f"{self.kernel_call}(nent={self.room})" if limited else self.kernel_call
