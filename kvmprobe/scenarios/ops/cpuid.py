"""Supported CPUID, the size it implies; setting and reading a vCPU's CPUID."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from kvmprobe.abi import ioctls
from kvmprobe.abi.numbers import KVM_MAX_CPUID_ENTRIES, KvmCap
from kvmprobe.model import cpuid, guest_cpuid
from kvmprobe.model.machine import MAIN, GuestCpuid
from kvmprobe.scenarios.calls import (
    Argument,
    Call,
    Captured,
    Immediate,
    Ioctl,
    Literal,
    LiteralAtPageEnd,
    Output,
)
from kvmprobe.scenarios.cpuid_tables import CAPTURED, Table, table, version_1
from kvmprobe.scenarios.ops._base import Op, op
from kvmprobe.scenarios.ops.lifecycle import KVM, VCPU, VM
from kvmprobe.xstate.cpuid import CpuidTable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvmprobe.model.host import HostProfile
    from kvmprobe.model.machine import Machine
    from kvmprobe.model.outcome import Step

SUPPORTED, READ_BACK = "supported-cpuid", "read-back-cpuid"
_CAPTURES = {Table.SUPPORTED: SUPPORTED, Table.READ_BACK: READ_BACK}
_HEADER_SIZE, _ENTRY_SIZE = 8, 40
_TABLE_SIZE = _HEADER_SIZE + _ENTRY_SIZE * KVM_MAX_CPUID_ENTRIES


@lru_cache(maxsize=16)
def _leaf_xstate(output: bytes) -> tuple[int, int]:
    found = CpuidTable.from_bytes(output)
    return found.xcr0, found.xstate_size


@lru_cache(maxsize=16)
def _guest_values(output: bytes) -> Mapping[str, int]:
    return guest_cpuid.read_table(CpuidTable.from_bytes(output))


@op(
    "get-supported-cpuid",
    "KVM_GET_SUPPORTED_CPUID",
    "Documentation/virt/kvm/api.rst: KVM_GET_SUPPORTED_CPUID",
    "arch/x86/kvm/cpuid.c: __do_cpuid_func",
    errnos={"EBADF": "the descriptor is closed"},
)
@dataclass(frozen=True, slots=True)
class GetSupportedCpuid(Op):
    """Fetch and keep what KVM supports under the caller's present permission."""

    by: str = MAIN

    def lower(self, host: HostProfile) -> Call:  # noqa: ARG002
        """Lower to an ioctl with room for the most entries."""
        head = struct.pack("=II", KVM_MAX_CPUID_ENTRIES, 0)
        output = Output(_TABLE_SIZE, head, capture=SUPPORTED)
        return Ioctl(ioctls.GET_SUPPORTED_CPUID.number, KVM, output, by=self.by)

    def step(self, machine: Machine) -> Step:
        """Expect the permitted components."""
        return cpuid.get_supported(machine, SUPPORTED, self.by)

    def read(self, output: bytes, host: HostProfile) -> Mapping[str, int]:  # noqa: ARG002
        """Read leaf 0xD."""
        xcr0, size = _leaf_xstate(output)
        return {cpuid.XCR0_FIELD: xcr0, cpuid.SIZE_FIELD: size}


@op(
    "check-xsave2",
    "KVM_CHECK_EXTENSION(KVM_CAP_XSAVE2)",
    "Documentation/virt/kvm/api.rst: KVM_GET_XSAVE2",
    "arch/x86/kvm/x86.c: kvm_vm_ioctl_check_extension",
)
@dataclass(frozen=True, slots=True)
class CheckXsave2(Op):
    """Ask the VM for the size of the uabi image."""

    def lower(self, host: HostProfile) -> Call:  # noqa: ARG002
        """Lower to the ioctl on the VM."""
        return Ioctl(ioctls.CHECK_EXTENSION.number, VM, Immediate(KvmCap.XSAVE2))

    def step(self, machine: Machine) -> Step:
        """Expect the size that permission implies."""
        return cpuid.check_xsave2(machine)


@op(
    "set-cpuid2",
    "KVM_SET_CPUID2",
    "Documentation/virt/kvm/api.rst: KVM_SET_CPUID2",
    "arch/x86/kvm/cpuid.c: kvm_set_cpuid",
    errnos={
        "EPERM": "XTILE_DATA without guest permission",
        "EINVAL": "another table, after the guest ran; illegal address sizes",
        "E2BIG": "more than 256 entries",
        "EFAULT": "entries that cannot be read",
        "EIO": "the VM belongs to another process's memory",
        "EBADF": "the vCPU's descriptor is closed",
    },
)
@dataclass(frozen=True, slots=True)
class SetCpuid2(Op):
    """Give the vCPU a table: what get-supported-cpuid kept, or a variant."""

    table: Table = Table.SUPPORTED
    by: str = MAIN
    vcpu: str = VCPU

    def __post_init__(self) -> None:
        """Accept the variant's text."""
        object.__setattr__(self, "table", Table(self.table))

    def lower(self, host: HostProfile) -> Call:
        """Lower to the ioctl on the kernel's own output, or on a table of ours."""
        argument: Argument = (
            Captured(_CAPTURES[self.table])
            if self.table in CAPTURED
            else Literal(table(host, self.table).to_bytes())
        )
        return Ioctl(ioctls.SET_CPUID2.number, self.vcpu, argument, by=self.by)

    def step(self, machine: Machine) -> Step:
        """Recompute what the guest may have."""
        return guest_cpuid.set_cpuid2(machine, self.vcpu, _value(machine, self.table), self.by)

    @property
    def text(self) -> str:
        """Name the table."""
        return f"{self.kernel_call}({self.table})"


def _value(machine: Machine, variant: Table) -> GuestCpuid:
    if variant in CAPTURED:
        return machine.captured[_CAPTURES[variant]]
    return GuestCpuid.of(table(machine.host, variant))


@op(
    "set-cpuid",
    "KVM_SET_CPUID",
    "Documentation/virt/kvm/api.rst: KVM_SET_CPUID",
    "arch/x86/kvm/cpuid.c: kvm_vcpu_ioctl_set_cpuid",
    errnos=SetCpuid2.errnos,
)
@dataclass(frozen=True, slots=True)
class SetCpuid(Op):
    """Give the vCPU what of a variant the older structure can hold: sub-leaf 0 of each leaf."""

    table: Table

    def __post_init__(self) -> None:
        """Accept the variant's text."""
        object.__setattr__(self, "table", Table(self.table))

    def lower(self, host: HostProfile) -> Call:
        """Lower to ``struct kvm_cpuid``."""
        content = version_1(host, self.table).to_version_1()
        return Ioctl(ioctls.SET_CPUID.number, VCPU, Literal(content))

    def step(self, machine: Machine) -> Step:
        """Recompute what the guest may have."""
        value = GuestCpuid.of(version_1(machine.host, self.table))
        return guest_cpuid.set_cpuid2(machine, VCPU, value)

    @property
    def text(self) -> str:
        """Name the table."""
        return f"{self.kernel_call}({self.table})"


@op(
    "set-too-many-cpuid2",
    "KVM_SET_CPUID2",
    "Documentation/virt/kvm/api.rst: KVM_SET_CPUID2",
    "arch/x86/kvm/cpuid.c: kvm_vcpu_ioctl_set_cpuid2",
    errnos={"E2BIG": "always: 257 entries"},
)
@dataclass(frozen=True, slots=True)
class SetTooManyCpuid2(Op):
    """Say that there are 257 entries."""

    def lower(self, host: HostProfile) -> Call:  # noqa: ARG002
        """Lower to a table that really has them."""
        count = KVM_MAX_CPUID_ENTRIES + 1
        content = struct.pack("=II", count, 0) + bytes(_ENTRY_SIZE * count)
        return Ioctl(ioctls.SET_CPUID2.number, VCPU, Literal(content))

    def step(self, machine: Machine) -> Step:
        """Expect a refusal."""
        return guest_cpuid.set_too_many(machine)

    @property
    def text(self) -> str:
        """Name the number."""
        return f"{self.kernel_call}(257 entries)"


@op(
    "set-cut-off-cpuid2",
    "KVM_SET_CPUID2",
    "Documentation/virt/kvm/api.rst: KVM_SET_CPUID2",
    "arch/x86/kvm/cpuid.c: kvm_vcpu_ioctl_set_cpuid2",
    errnos={"EFAULT": "always: the table cannot be read to its end"},
)
@dataclass(frozen=True, slots=True)
class SetCutOffCpuid2(Op):
    """Give a table whose last bytes are behind the end of memory.

    :ivar size: bytes that can be read, of a header and one entry
    """

    size: int

    def lower(self, host: HostProfile) -> Call:  # noqa: ARG002
        """Lower to the end of a page; to address 0 if nothing can be read."""
        content = (struct.pack("=II", 1, 0) + bytes(_ENTRY_SIZE))[: self.size]
        argument: Argument = LiteralAtPageEnd(content) if content else Immediate(0)
        return Ioctl(ioctls.SET_CPUID2.number, VCPU, argument)

    def step(self, machine: Machine) -> Step:
        """Expect a refusal."""
        return guest_cpuid.set_unreadable(machine)

    @property
    def text(self) -> str:
        """Name the size."""
        return f"{self.kernel_call}({self.size} bytes of 48)"


@op(
    "get-cpuid2",
    "KVM_GET_CPUID2",
    "Documentation/virt/kvm/api.rst: KVM_GET_CPUID2",
    "arch/x86/kvm/cpuid.c: kvm_vcpu_ioctl_get_cpuid2",
    errnos={
        "E2BIG": "more entries than the caller has room for",
        "EIO": "the VM belongs to another process's memory",
        "EBADF": "the vCPU's descriptor is closed",
    },
)
@dataclass(frozen=True, slots=True)
class GetCpuid2(Op):
    """Fetch the vCPU's table, and keep it if there is room for any.

    :ivar room: entries that the caller says it has room for
    """

    room: int = KVM_MAX_CPUID_ENTRIES
    by: str = MAIN

    def lower(self, host: HostProfile) -> Call:  # noqa: ARG002
        """Lower to an ioctl with a blank table: the kernel may not tell how many it wrote."""
        head = struct.pack("=II", self.room, 0).ljust(_TABLE_SIZE, b"\0")
        output = Output(_TABLE_SIZE, head, capture=self._kept_as)
        return Ioctl(ioctls.GET_CPUID2.number, VCPU, output, by=self.by)

    def step(self, machine: Machine) -> Step:
        """Expect what was set, with current values."""
        return guest_cpuid.get_cpuid2(machine, VCPU, self._kept_as, self.room, self.by)

    def read(self, output: bytes, host: HostProfile) -> Mapping[str, int]:  # noqa: ARG002
        """Read what follows the vCPU's registers."""
        return _guest_values(output)

    @property
    def _kept_as(self) -> str:
        return READ_BACK if self.room == KVM_MAX_CPUID_ENTRIES else ""

    @property
    def text(self) -> str:
        """Name the room where it is not the most."""
        limited = self.room != KVM_MAX_CPUID_ENTRIES
        return f"{self.kernel_call}(nent={self.room})" if limited else self.kernel_call
