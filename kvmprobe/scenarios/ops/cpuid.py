"""Supported CPUID, the size it implies, and setting a vCPU's CPUID."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from kvmprobe.abi import ioctls
from kvmprobe.abi.numbers import KVM_MAX_CPUID_ENTRIES, KvmCap
from kvmprobe.model import cpuid
from kvmprobe.scenarios.calls import Call, Captured, Immediate, Ioctl, Output
from kvmprobe.scenarios.ops._base import Op, op
from kvmprobe.scenarios.ops.lifecycle import KVM, VCPU, VM
from kvmprobe.xstate.cpuid import CpuidTable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvmprobe.model.host import HostProfile
    from kvmprobe.model.machine import Machine
    from kvmprobe.model.outcome import Step

SUPPORTED = "supported-cpuid"
_TABLE_SIZE = 8 + 40 * KVM_MAX_CPUID_ENTRIES


@lru_cache(maxsize=16)
def _leaf_xstate(output: bytes) -> tuple[int, int]:
    table = CpuidTable.from_bytes(output)
    return table.xcr0, table.xstate_size


@op(
    "get-supported-cpuid",
    "KVM_GET_SUPPORTED_CPUID",
    "Documentation/virt/kvm/api.rst: KVM_GET_SUPPORTED_CPUID",
    "arch/x86/kvm/cpuid.c: __do_cpuid_func",
)
@dataclass(frozen=True, slots=True)
class GetSupportedCpuid(Op):
    """Fetch and keep what KVM supports under the present permission."""

    def lower(self, host: HostProfile) -> Call:  # noqa: ARG002
        """Lower to an ioctl with room for the most entries."""
        head = struct.pack("=II", KVM_MAX_CPUID_ENTRIES, 0)
        return Ioctl(
            ioctls.GET_SUPPORTED_CPUID.number, KVM, Output(_TABLE_SIZE, head, capture=SUPPORTED)
        )

    def step(self, machine: Machine) -> Step:
        """Expect the permitted components."""
        return cpuid.get_supported(machine, SUPPORTED)

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
        "EINVAL": "another table, after the guest ran",
    },
)
@dataclass(frozen=True, slots=True)
class SetCpuid2(Op):
    """Give the vCPU the table that get-supported-cpuid kept."""

    def lower(self, host: HostProfile) -> Call:  # noqa: ARG002
        """Lower to the ioctl on the captured table."""
        return Ioctl(ioctls.SET_CPUID2.number, VCPU, Captured(SUPPORTED))

    def step(self, machine: Machine) -> Step:
        """Recompute what the guest may have."""
        return cpuid.set_cpuid2(machine, VCPU, SUPPORTED)

    @property
    def text(self) -> str:
        """Name the table."""
        return f"{self.kernel_call}(supported)"
