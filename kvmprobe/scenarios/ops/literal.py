"""Ops with literal input: what a VMM's template, a dump or a report has, as it is."""

from __future__ import annotations

import errno
import struct
from abc import abstractmethod
from functools import cache, lru_cache
from typing import TYPE_CHECKING, ClassVar

from kvmprobe.abi import ioctls
from kvmprobe.abi.tables import CPUID2
from kvmprobe.model import guest_cpuid, literal, sregs, uabi
from kvmprobe.model.machine import GuestCpuid
from kvmprobe.scenarios.calls import VCPU, Argument, Literal
from kvmprobe.scenarios.literal_fields import (
    CpuidChanges,
    CpuidEntries,
    Image,
    Sregs2Bytes,
    SregsBytes,
)
from kvmprobe.scenarios.op_fields import U32, U64
from kvmprobe.scenarios.ops._base import FixedIoctl, HostIoctl, Places, op
from kvmprobe.scenarios.ops.msrs import entry_list
from kvmprobe.scenarios.ops.xsave import at_page_end
from kvmprobe.xstate.cpuid import CpuidEntry, CpuidTable
from kvmprobe.xstate.features import names
from kvmprobe.xstate.image import xstate_bv_of
from kvmprobe.xstate.layout import EXTENDED_OFFSET

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvmprobe.abi.layout import Layout
    from kvmprobe.model.host import HostProfile
    from kvmprobe.model.machine import Machine
    from kvmprobe.model.outcome import Step

_CPUID_RULES = (
    guest_cpuid.SET_CPUID2,
    guest_cpuid.SET_CPUID2_AFTER_RUN,
    guest_cpuid.CHECK_ADDRESS_BITS,
    guest_cpuid.SET_TOO_MANY,
)
_CPUID_ERRNOS = (errno.EPERM, errno.EINVAL, errno.E2BIG)


@op("set-cpuid2-entries", ioctls.SET_CPUID2, *_CPUID_RULES, errnos=_CPUID_ERRNOS)
class SetCpuid2Entries(FixedIoctl):
    """Give the vCPU this table: leaf, sub-leaf, flags and registers of each entry."""

    leaves: CpuidEntries

    @property
    def _table(self) -> CpuidTable:
        return CpuidTable(tuple(map(CpuidEntry._make, self.leaves)))

    def argument(self) -> Argument:
        return Literal(CPUID2.pack(self.leaves))

    def refused(self, machine: Machine) -> str:
        return literal.uncovered_table(machine.host, self._table)

    def transition(self, machine: Machine) -> Step:
        return guest_cpuid.set_cpuid2(machine, VCPU, GuestCpuid.of(self._table))

    @property
    def text(self) -> str:
        return f"{self.kernel_call}({len(self.leaves)} literal entries)"


@op("set-cpuid2-template", ioctls.SET_CPUID2, *_CPUID_RULES, errnos=_CPUID_ERRNOS)
class SetCpuid2Template(HostIoctl):
    """Give the vCPU what KVM supports, with bits of some registers changed.

    A change of an entry that KVM does not offer on the host changes nothing.
    """

    changes: CpuidChanges

    def _table(self, host: HostProfile) -> CpuidTable:
        return changed(host.supported, self.changes)

    def argument(self, host: HostProfile) -> Argument:
        return Literal(self._table(host).to_bytes())

    def refused(self, machine: Machine) -> str:
        return literal.uncovered_table(machine.host, self._table(machine.host))

    def transition(self, machine: Machine) -> Step:
        return guest_cpuid.set_cpuid2(machine, VCPU, GuestCpuid.of(self._table(machine.host)))

    @property
    def text(self) -> str:
        return f"{self.kernel_call}(supported, {len(self.changes)} registers changed)"


@lru_cache(maxsize=64)
def changed(table: CpuidTable, changes: CpuidChanges) -> CpuidTable:
    """Return a table with changes applied in order, each to the entry of its leaf and sub-leaf."""
    entries = list(table.entries)
    places = {(entry.leaf, entry.subleaf): at for at, entry in reversed([*enumerate(entries)])}
    for leaf, subleaf, flags, register, bits, value in changes:
        if (at := places.get((leaf, subleaf))) is None:
            continue
        present: int = getattr(entries[at], register)
        new = present & ~bits | value & bits
        entries[at] = entries[at]._replace(flags=flags, **{register.value: new})
    return CpuidTable(tuple(entries))


@op(
    "set-xsave-literal",
    ioctls.SET_XSAVE,
    uabi.SET_XSAVE,
    uabi.READ_IMAGE,
    errnos=(errno.EINVAL, errno.EFAULT),
)
class SetXsaveLiteral(FixedIoctl):
    """Restore this image; the memory after it cannot be read."""

    image: Image

    def argument(self) -> Argument:
        return at_page_end(self.image)

    def refused(self, machine: Machine) -> str:  # noqa: ARG002
        return literal.uncovered_image(self.image)

    def transition(self, machine: Machine) -> Step:
        return uabi.set_xsave(machine, VCPU, self.image)

    @property
    def text(self) -> str:
        size = f"{len(self.image)} literal bytes"
        if len(self.image) < EXTENDED_OFFSET:
            return f"{self.kernel_call} {size}"
        return f"{self.kernel_call} XSTATE_BV={names(xstate_bv_of(self.image))}, {size}"


@op("set-unknown-msr", ioctls.SET_MSRS, literal.SET_UNKNOWN_MSR)
class SetUnknownMsr(FixedIoctl):
    """Write an MSR that the model does not know; whether KVM accepts it is not judged."""

    index: U32
    value: U64

    def argument(self) -> Argument:
        return Literal(entry_list([(self.index, self.value)]))

    def refused(self, machine: Machine) -> str:  # noqa: ARG002
        return literal.uncovered_msr(self.index, self.value)

    def transition(self, machine: Machine) -> Step:
        return literal.set_unknown_msr(machine)

    @property
    def text(self) -> str:
        return f"{self.kernel_call}({self.index:#x}={self.value:#x}), not judged"


class _SetSregs(FixedIoctl):
    """Write a whole structure."""

    layout: ClassVar[Layout]

    @property
    @abstractmethod
    def _content(self) -> bytes: ...

    @property
    def _values(self) -> Mapping[str, int]:
        return members(self.layout, self._content)

    def argument(self) -> Argument:
        return Literal(self._content)

    def refused(self, machine: Machine) -> str:
        return literal.uncovered_sregs(machine.host, machine.vcpu(VCPU), self._values)

    def transition(self, machine: Machine) -> Step:
        return literal.set_literal_sregs(machine, VCPU, self._values)

    @property
    def text(self) -> str:
        shown = (f"{name.upper()}={self._values[name]:#x}" for name in ("cr0", "cr4", "efer"))
        return f"{self.kernel_call} {' '.join(shown)}, literal"


_READ = ("cs.base", "cs.selector", "cs.l", "cr0", "cr2", "cr3", "cr4", "cr8", "efer", "apic_base")
# What the two structures have after those.
_MORE = {ioctls.KVM_SREGS.name: "interrupt_bitmap", ioctls.KVM_SREGS2.name: "flags"}


def members(layout: Layout, content: bytes) -> Mapping[str, int]:
    """Return what the model reads of ``struct kvm_sregs`` or ``struct kvm_sregs2``."""
    places = _places(layout.name)
    return {n: struct.unpack_from(f"={code}", content, at)[0] for n, (at, code) in places.items()}


@cache
def _places(name: str) -> Places:
    layout = ioctls.KVM_SREGS if name == ioctls.KVM_SREGS.name else ioctls.KVM_SREGS2
    return layout.places(*_READ, _MORE[name])


@op("set-sregs-literal", ioctls.SET_SREGS, sregs.SET_SREGS, errnos=(errno.EINVAL,))
class SetSregsLiteral(_SetSregs):
    """Write this ``struct kvm_sregs``; no guest code can run after it."""

    sregs: SregsBytes
    layout = ioctls.KVM_SREGS

    @property
    def _content(self) -> bytes:
        return self.sregs


@op("set-sregs2-literal", ioctls.SET_SREGS2, sregs.SET_SREGS, errnos=(errno.EINVAL,))
class SetSregs2Literal(_SetSregs):
    """Write this ``struct kvm_sregs2``; no guest code can run after it."""

    sregs2: Sregs2Bytes
    layout = ioctls.KVM_SREGS2

    @property
    def _content(self) -> bytes:
        return self.sregs2
