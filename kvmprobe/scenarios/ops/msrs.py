"""Setting and reading MSRs from the host: IA32_XFD, IA32_XFD_ERR, and lists of any."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from kvmprobe.abi import ioctls
from kvmprobe.abi.numbers import Msr
from kvmprobe.model import msr
from kvmprobe.model.msr import FpuLoad
from kvmprobe.scenarios.calls import Call, Captured, Ioctl, Literal, Output, SleepingLiteral
from kvmprobe.scenarios.ops._base import Op, op
from kvmprobe.scenarios.ops._values import Pairs, pairs
from kvmprobe.scenarios.ops.lifecycle import VCPU
from kvmprobe.xstate.features import names

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kvmprobe.model.host import HostProfile
    from kvmprobe.model.machine import Machine
    from kvmprobe.model.outcome import Step

_XFD_MSRS = (Msr.IA32_XFD, Msr.IA32_XFD_ERR)
_LISTED = "listed-msrs"
_SHOWN = 4


def msr_list(values: Mapping[int, int]) -> bytes:
    """Return ``struct kvm_msrs`` with its entries."""
    return entry_list(list(values.items()))


def entry_list(entries: Sequence[tuple[int, int]]) -> bytes:
    """Return ``struct kvm_msrs`` of (index, value) pairs, in which an index may occur twice."""
    head = struct.pack("=II", len(entries), 0)
    return head + b"".join(struct.pack("=IIQ", index, 0, value) for index, value in entries)


@op(
    "set-xfd",
    "KVM_SET_MSRS",
    "Documentation/virt/kvm/api.rst: KVM_SET_MSRS",
    "arch/x86/kernel/fpu/core.c: fpu_update_guest_xfd",
)
@dataclass(frozen=True, slots=True)
class SetXfd(Op):
    """Write IA32_XFD; the kernel returns how many entries it processed."""

    xfd: int

    def lower(self, host: HostProfile) -> Call:  # noqa: ARG002
        """Lower to a one-entry list."""
        return Ioctl(ioctls.SET_MSRS.number, VCPU, Literal(msr_list({Msr.IA32_XFD: self.xfd})))

    def step(self, machine: Machine) -> Step:
        """Arm or disarm."""
        return msr.set_xfd(machine, VCPU, self.xfd)

    @property
    def text(self) -> str:
        """Name the components."""
        return f"{self.kernel_call} IA32_XFD={names(self.xfd)}"


@op(
    "set-xfd-err",
    "KVM_SET_MSRS",
    "Documentation/virt/kvm/api.rst: KVM_SET_MSRS",
    "arch/x86/kvm/x86.c: kvm_set_msr_common",
)
@dataclass(frozen=True, slots=True)
class SetXfdErr(Op):
    """Write IA32_XFD_ERR."""

    xfd_err: int

    def lower(self, host: HostProfile) -> Call:  # noqa: ARG002
        """Lower to a one-entry list."""
        values = msr_list({Msr.IA32_XFD_ERR: self.xfd_err})
        return Ioctl(ioctls.SET_MSRS.number, VCPU, Literal(values))

    def step(self, machine: Machine) -> Step:
        """Accept what the guest may have."""
        return msr.set_xfd_err(machine, VCPU, self.xfd_err)

    @property
    def text(self) -> str:
        """Name the components."""
        return f"{self.kernel_call} IA32_XFD_ERR={names(self.xfd_err)}"


@op("get-xfd", "KVM_GET_MSRS", "Documentation/virt/kvm/api.rst: KVM_GET_MSRS")
@dataclass(frozen=True, slots=True)
class GetXfd(Op):
    """Read IA32_XFD and IA32_XFD_ERR."""

    output_fields: ClassVar[Mapping[str, tuple[int, str]]] = {
        msr.XFD_FIELD: (16, "Q"),
        msr.XFD_ERR_FIELD: (32, "Q"),
    }

    def lower(self, host: HostProfile) -> Call:  # noqa: ARG002
        """Lower to a two-entry list."""
        head = msr_list(dict.fromkeys(_XFD_MSRS, 0))
        return Ioctl(ioctls.GET_MSRS.number, VCPU, Output(len(head), head))

    def step(self, machine: Machine) -> Step:
        """Expect the last accepted values."""
        return msr.get_xfd(machine, VCPU)


@op(
    "set-xfd-asleep",
    "KVM_SET_MSRS",
    "Documentation/virt/kvm/api.rst: KVM_SET_MSRS",
    "arch/x86/kernel/fpu/core.c: fpu_update_guest_xfd",
)
@dataclass(frozen=True, slots=True)
class SetXfdAsleep(Op):
    """Write IA32_XFD from a list that the kernel has to sleep for."""

    xfd: int

    def lower(self, host: HostProfile) -> Call:  # noqa: ARG002
        """Lower to a list on a page that comes late; so the thread's own FPU is to be reloaded."""
        values = msr_list({Msr.IA32_XFD: self.xfd})
        return Ioctl(ioctls.SET_MSRS.number, VCPU, SleepingLiteral(values))

    def step(self, machine: Machine) -> Step:
        """Arm or disarm."""
        return msr.set_xfd(machine, VCPU, self.xfd, FpuLoad.NEEDED)

    @property
    def text(self) -> str:
        """Name the components."""
        return f"{self.kernel_call} IA32_XFD={names(self.xfd)}, after a sleep"


@op(
    "set-msrs",
    "KVM_SET_MSRS",
    "Documentation/virt/kvm/api.rst: KVM_SET_MSRS",
    "arch/x86/kvm/x86.c: __msr_io",
    errnos={"E2BIG": "256 entries or more"},
)
@dataclass(frozen=True, slots=True)
class SetMsrs(Op):
    """Write a list of MSRs, given as (index, value)."""

    entries: Pairs

    def __post_init__(self) -> None:
        """Accept what JSON made of the list."""
        object.__setattr__(self, "entries", pairs(self.entries))

    def lower(self, host: HostProfile) -> Call:  # noqa: ARG002
        """Lower to the list."""
        return Ioctl(ioctls.SET_MSRS.number, VCPU, Literal(entry_list(self.entries)))

    def step(self, machine: Machine) -> Step:
        """Apply entries up to the first that is refused."""
        return msr.set_msrs(machine, VCPU, self.entries)

    @property
    def text(self) -> str:
        """Name the MSRs, or say how many."""
        shown = ", ".join(f"{msr.msr_name(i)}={v:#x}" for i, v in self.entries)
        many = len(self.entries) > _SHOWN
        return f"{self.kernel_call}({f'{len(self.entries)} entries' if many else shown})"


@op(
    "get-msrs",
    "KVM_GET_MSRS",
    "Documentation/virt/kvm/api.rst: KVM_GET_MSRS",
    "arch/x86/kvm/x86.c: __msr_io",
    errnos={"E2BIG": "256 entries or more"},
)
@dataclass(frozen=True, slots=True)
class GetMsrs(Op):
    """Read a list of MSRs."""

    indices: tuple[int, ...]

    def __post_init__(self) -> None:
        """Accept what JSON made of the list."""
        object.__setattr__(self, "indices", tuple(self.indices))

    def lower(self, host: HostProfile) -> Call:  # noqa: ARG002
        """Lower to the list with empty values."""
        head = entry_list([(index, 0) for index in self.indices])
        return Ioctl(ioctls.GET_MSRS.number, VCPU, Output(len(head), head))

    def step(self, machine: Machine) -> Step:
        """Expect values up to the first that cannot be read."""
        return msr.get_msrs(machine, VCPU, self.indices)

    @property
    def places(self) -> Mapping[str, tuple[int, str]]:
        """Each value by its MSR's name."""
        return {msr.msr_name(index): (16 + 16 * n, "Q") for n, index in enumerate(self.indices)}

    @property
    def text(self) -> str:
        """Name the MSRs, or say how many."""
        shown = ", ".join(msr.msr_name(i) for i in self.indices)
        many = len(self.indices) > _SHOWN
        return f"{self.kernel_call}({f'{len(self.indices)} entries' if many else shown})"


@op(
    "get-listed-msrs",
    "KVM_GET_MSRS",
    "Documentation/virt/kvm/api.rst: KVM_GET_MSR_INDEX_LIST",
    "tools/testing/selftests/kvm/lib/x86/processor.c: vcpu_save_state",
)
@dataclass(frozen=True, slots=True)
class GetListedMsrs(Op):
    """Read, and keep, every MSR that KVM lists."""

    def lower(self, host: HostProfile) -> Call:
        """Lower to a list in ascending order."""
        head = entry_list([(index, 0) for index in sorted(host.msrs)])
        return Ioctl(ioctls.GET_MSRS.number, VCPU, Output(len(head), head, capture=_LISTED))

    def step(self, machine: Machine) -> Step:
        """Expect all of them."""
        return msr.access_listed(machine, VCPU)

    @property
    def text(self) -> str:
        """Say which."""
        return f"{self.kernel_call}(all listed)"


@op(
    "restore-listed-msrs",
    "KVM_SET_MSRS",
    "Documentation/virt/kvm/api.rst: KVM_SET_MSRS",
    "tools/testing/selftests/kvm/lib/x86/processor.c: vcpu_load_state",
)
@dataclass(frozen=True, slots=True)
class RestoreListedMsrs(Op):
    """Write back what get-listed-msrs kept, with this IA32_XFD."""

    xfd: int

    def lower(self, host: HostProfile) -> Call:
        """Lower to the kept list, XFD's value exchanged where it is in it."""
        patches: tuple[tuple[int, bytes], ...] = ()
        if Msr.IA32_XFD in host.msrs:
            place = 16 + 16 * sorted(host.msrs).index(Msr.IA32_XFD)
            patches = ((place, struct.pack("=Q", self.xfd)),)
        return Ioctl(ioctls.SET_MSRS.number, VCPU, Captured(_LISTED, patches))

    def step(self, machine: Machine) -> Step:
        """Expect all of them to be accepted, XFD by its own rule."""
        return msr.access_listed(machine, VCPU, self.xfd)

    @property
    def text(self) -> str:
        """Say which."""
        return f"{self.kernel_call}(all listed, IA32_XFD={names(self.xfd)})"


@op(
    "access-cet-msr",
    "KVM_GET_MSRS",
    "Documentation/virt/kvm/api.rst: KVM_GET_MSRS",
    "arch/x86/kvm/x86.c: is_xstate_managed_msr",
)
@dataclass(frozen=True, slots=True)
class AccessCetMsr(Op):
    """Read IA32_U_CET, which is in XSTATE: the guest FPU is loaded and saved for it."""

    output_fields: ClassVar[Mapping[str, tuple[int, str]]] = {
        msr.msr_name(Msr.IA32_U_CET): (16, "Q")
    }

    def lower(self, host: HostProfile) -> Call:  # noqa: ARG002
        """Lower to a one-entry list."""
        head = msr_list({Msr.IA32_U_CET: 0})
        return Ioctl(ioctls.GET_MSRS.number, VCPU, Output(len(head), head))

    def step(self, machine: Machine) -> Step:
        """Load and save the guest FPU where the guest has such an MSR."""
        return msr.get_msrs(machine, VCPU, [Msr.IA32_U_CET])

    @property
    def text(self) -> str:
        """Name the MSR."""
        return f"{self.kernel_call}(U_CET)"
