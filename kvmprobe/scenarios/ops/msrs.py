"""Setting and reading MSRs from the host: IA32_XFD, IA32_XFD_ERR, and lists of MSRs."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from kvmprobe.abi import ioctls
from kvmprobe.abi.numbers import U32_MAX, Msr, msr_name
from kvmprobe.abi.tables import MSRS
from kvmprobe.model import msr
from kvmprobe.model.machine import GuestCpuid
from kvmprobe.model.msr import FpuLoad
from kvmprobe.scenarios.calls import (
    MAIN,
    VCPU,
    Argument,
    Captured,
    Literal,
    Output,
    SleepingLiteral,
)
from kvmprobe.scenarios.cpuid_tables import Table, table
from kvmprobe.scenarios.need import PRIVILEGE
from kvmprobe.scenarios.op_fields import U64, Caller, Entries, Indices, Name
from kvmprobe.scenarios.ops._base import FixedIoctl, HostIoctl, Places, op
from kvmprobe.scenarios.ops.lifecycle import OnVcpu, on_which
from kvmprobe.scenarios.requirement import Requirement
from kvmprobe.xstate.features import names

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from kvmprobe.model.host import HostProfile
    from kvmprobe.model.machine import Machine
    from kvmprobe.model.outcome import Step

_XFD_MSRS = (Msr.IA32_XFD, Msr.IA32_XFD_ERR)
_LISTED = "listed-msrs"
NOT_AN_MSR = 0x4000_4000
KNOWN_MSRS = frozenset({NOT_AN_MSR, *Msr})
_SHOWN = 4


def unknown_msr(indices: Iterable[int]) -> str:
    """Return why the model does not cover these MSRs; empty if it does."""
    unknown = sorted(set(indices) - KNOWN_MSRS)
    return f"the model does not know {', '.join(map(hex, unknown))}" if unknown else ""


def _uncertain(indices: Iterable[int]) -> str:
    """Return why it is not certain that an MSR of the FPU is written; empty if it is.

    :see: arch/x86/kvm/x86.c: __msr_io, which ends at the first entry that is refused
    """
    left = list(indices)
    while left and left[0] in KNOWN_MSRS:
        left.pop(0)
    after = ", ".join(map(hex, sorted(set(left) & set(Msr))))
    return f"{after} after an MSR that the model does not know" if after else ""


def _not_usual(machine: Machine) -> str:
    """Return why a listed MSR may be inaccessible; empty if all are accessible.

    :see: arch/x86/kvm/x86.c: kvm_get_msr_common, by the guest's CPUID and its local APIC
    """
    vcpu, supported = machine.vcpu(VCPU), machine.host.supported
    tables = (supported, table(machine.host, Table.NO_AMX))
    if vcpu.cpuid not in [GuestCpuid.of(known) for known in tables]:
        return "the MSRs that exist depend on CPUID; set what KVM supports, or no-amx"
    return "" if vcpu.lapic else "some listed MSRs need an irqchip"


def msr_list(values: Mapping[int, int]) -> bytes:
    """Return ``struct kvm_msrs`` with its entries."""
    return entry_list(list(values.items()))


def entry_list(entries: Sequence[tuple[int, int]]) -> bytes:
    """Return ``struct kvm_msrs`` of (index, value) pairs, in which an index may occur twice."""
    return MSRS.pack(entries)


def _data(number: int) -> tuple[int, str]:
    """Return the offset and format of an entry's value in ``struct kvm_msrs``."""
    return MSRS.offset(number, "data"), MSRS.entry.format("data")


@op("set-xfd", ioctls.SET_MSRS, msr.SET_XFD)
class SetXfd(FixedIoctl):
    """Write IA32_XFD; the kernel returns the number of entries that it processed."""

    in_vmx_operation = True

    xfd: U64
    vcpu: Name = VCPU
    by: Caller = MAIN

    def argument(self) -> Argument:
        return Literal(msr_list({Msr.IA32_XFD: self.xfd}))

    def transition(self, machine: Machine) -> Step:
        return msr.set_xfd(machine, self.vcpu, self.xfd)

    @property
    def text(self) -> str:
        return f"{self.kernel_call} IA32_XFD={names(self.xfd)}{on_which(self.vcpu, self.by)}"


@op("set-xfd-err", ioctls.SET_MSRS, msr.SET_XFD_ERR)
class SetXfdErr(FixedIoctl):
    """Write IA32_XFD_ERR."""

    in_vmx_operation = True

    xfd_err: U64

    def argument(self) -> Argument:
        values = msr_list({Msr.IA32_XFD_ERR: self.xfd_err})
        return Literal(values)

    def transition(self, machine: Machine) -> Step:
        return msr.set_xfd_err(machine, VCPU, self.xfd_err)

    @property
    def text(self) -> str:
        return f"{self.kernel_call} IA32_XFD_ERR={names(self.xfd_err)}"


@op(
    "get-xfd",
    ioctls.GET_MSRS,
    msr.GET_XFD,
    output={msr.XFD_FIELD: _data(0), msr.XFD_ERR_FIELD: _data(1)},
)
class GetXfd(OnVcpu, FixedIoctl):
    """Read IA32_XFD and IA32_XFD_ERR."""

    in_vmx_operation = True

    vcpu: Name = VCPU
    by: Caller = MAIN

    def argument(self) -> Argument:
        head = msr_list(dict.fromkeys(_XFD_MSRS, 0))
        return Output(len(head), head)

    def transition(self, machine: Machine) -> Step:
        return msr.get_xfd(machine, self.vcpu)


@op(
    "set-xfd-asleep",
    ioctls.SET_MSRS,
    msr.SET_XFD,
    requires=(Requirement.DESCRIPTORS_LEFT,),
    needs=PRIVILEGE,
)
class SetXfdAsleep(FixedIoctl):
    """Write IA32_XFD from a list on a page that the kernel sleeps for."""

    xfd: U64

    def argument(self) -> Argument:
        # The thread sleeps until the page is present; then it must reload its own FPU state.
        values = msr_list({Msr.IA32_XFD: self.xfd})
        return SleepingLiteral(values)

    def transition(self, machine: Machine) -> Step:
        return msr.set_xfd(machine, VCPU, self.xfd, FpuLoad.NEEDED)

    @property
    def text(self) -> str:
        return f"{self.kernel_call} IA32_XFD={names(self.xfd)}, after a sleep"


@op("set-msrs", ioctls.SET_MSRS, msr.SET_MSRS, errnos=(errno.E2BIG,))
class SetMsrs(FixedIoctl):
    """Write a list of MSRs, given as (index, value)."""

    entries: Entries

    def argument(self) -> Argument:
        return Literal(entry_list(self.entries))

    def refused(self, machine: Machine) -> str:  # noqa: ARG002
        return _uncertain(index for index, _ in self.entries) or self._cut_by_vendor()

    def not_covered(self, machine: Machine) -> str:  # noqa: ARG002
        return unknown_msr(index for index, _ in self.entries)

    def _cut_by_vendor(self) -> str:
        wide = any(i == Msr.IA32_SYSENTER_CS and v > U32_MAX for i, v in self.entries)
        return "some CPUs keep 32 bits of IA32_SYSENTER_CS only" if wide else ""

    def transition(self, machine: Machine) -> Step:
        return msr.set_msrs(machine, VCPU, self.entries)

    @property
    def text(self) -> str:
        shown = ", ".join(f"{msr_name(i)}={v:#x}" for i, v in self.entries)
        many = len(self.entries) > _SHOWN
        return f"{self.kernel_call}({f'{len(self.entries)} entries' if many else shown})"


@op("get-msrs", ioctls.GET_MSRS, msr.GET_MSRS, errnos=(errno.E2BIG,))
class GetMsrs(FixedIoctl):
    """Read a list of MSRs."""

    indices: Indices

    def argument(self) -> Argument:
        head = entry_list([(index, 0) for index in self.indices])
        return Output(len(head), head)

    def not_covered(self, machine: Machine) -> str:  # noqa: ARG002
        return unknown_msr(self.indices)

    def transition(self, machine: Machine) -> Step:
        return msr.get_msrs(machine, VCPU, self.indices)

    @property
    def places(self) -> Places:
        return {msr_name(index): _data(n) for n, index in enumerate(self.indices)}

    @property
    def text(self) -> str:
        shown = ", ".join(msr_name(i) for i in self.indices)
        many = len(self.indices) > _SHOWN
        return f"{self.kernel_call}({f'{len(self.indices)} entries' if many else shown})"


@op("get-listed-msrs", ioctls.GET_MSRS, msr.ACCESS_LISTED)
class GetListedMsrs(HostIoctl):
    """Read, and keep, every MSR that KVM lists."""

    keeps = _LISTED

    def argument(self, host: HostProfile) -> Argument:
        head = entry_list([(index, 0) for index in sorted(host.msrs)])
        return Output(len(head), head, capture=_LISTED)

    def refused(self, machine: Machine) -> str:
        return _not_usual(machine)

    def transition(self, machine: Machine) -> Step:
        return msr.get_listed(machine, VCPU)

    @property
    def text(self) -> str:
        return f"{self.kernel_call}(all listed)"


@op("restore-listed-msrs", ioctls.SET_MSRS, msr.ACCESS_LISTED)
class RestoreListedMsrs(HostIoctl):
    """Write back what get-listed-msrs kept, with this IA32_XFD."""

    xfd: U64

    def argument(self, host: HostProfile) -> Argument:
        patches: tuple[tuple[int, bytes], ...] = ()
        if Msr.IA32_XFD in host.msrs:
            place, _ = _data(sorted(host.msrs).index(Msr.IA32_XFD))
            patches = ((place, self.xfd.to_bytes(8, "little")),)
        return Captured(_LISTED, patches)

    def refused(self, machine: Machine) -> str:
        return _not_usual(machine)

    def transition(self, machine: Machine) -> Step:
        return msr.restore_listed(machine, VCPU, self.xfd)

    @property
    def text(self) -> str:
        return f"{self.kernel_call}(all listed, IA32_XFD={names(self.xfd)})"


@op(
    "access-cet-msr",
    ioctls.GET_MSRS,
    msr.GET_MSRS,
    output={msr_name(Msr.IA32_U_CET): _data(0)},
)
class AccessCetMsr(FixedIoctl):
    """Read IA32_U_CET, which is in XSTATE: KVM loads and saves the guest FPU to read it."""

    def argument(self) -> Argument:
        head = msr_list({Msr.IA32_U_CET: 0})
        return Output(len(head), head)

    def transition(self, machine: Machine) -> Step:
        return msr.get_msrs(machine, VCPU, [Msr.IA32_U_CET])

    @property
    def text(self) -> str:
        return f"{self.kernel_call}(U_CET)"
