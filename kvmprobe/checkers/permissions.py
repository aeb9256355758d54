"""Permission grows by what was asked for, and sizes and tables follow it."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from kvmprobe.abi.numbers import ArchPrctlCode, KvmCap
from kvmprobe.checkers.event import cpuid_of, immediate_of, u64
from kvmprobe.checkers.told import growing
from kvmprobe.results.record import Finding
from kvmprobe.scenarios.calls import MAIN, ArchPrctl, Ioctl, Relation
from kvmprobe.xstate.features import DYNAMIC, XTILE, XFeature, names
from kvmprobe.xstate.layout import KVM_XSAVE_SIZE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmprobe.checkers.event import Event
    from kvmprobe.checkers.told import Told

_GUEST = ArchPrctlCode.REQ_XCOMP_GUEST_PERM
_REQUESTS = {ArchPrctlCode.REQ_XCOMP_PERM, _GUEST}
_GETS = {
    ArchPrctlCode.GET_XCOMP_SUPP,
    ArchPrctlCode.GET_XCOMP_PERM,
    ArchPrctlCode.GET_XCOMP_GUEST_PERM,
}
# Bits that only the kernel has: supervisor components (SDM vol.1 §13.1), and its lock.
_HIDDEN = 1 << 63 | sum(1 << nr for nr in (8, 10, 11, 12, 13, 14, 15, 16))
_TOO_LARGE = 20


def requests(event: Event, told: Told) -> Iterator[Finding]:
    """Expect a refusal for the number's kind, for the lock, never for a small stack.

    INV-3, INV-4, INV-6, INV-42.
    """
    if not isinstance(event.call, ArchPrctl) or event.call.code not in _REQUESTS:
        return
    number = immediate_of(event.call)
    if number is None:
        return
    allowed, invariant = _allowed(event, told, number)
    if event.result not in allowed:
        text = f"{event.op.text} returns {event.result}, not {' or '.join(map(str, allowed))}"
        yield Finding("permission", invariant, event.step, text)


def _allowed(event: Event, told: Told, number: int) -> tuple[tuple[int, ...], str]:
    dynamic = number == XFeature.XTILE_DATA and told.host.user_features & DYNAMIC
    if dynamic:
        return _allowed_dynamic(event, told)
    if number >= _TOO_LARGE:
        return (-errno.EINVAL,), "INV-3"
    # Whether 19, APX, has a name is a legal variant.
    known = (-errno.EINVAL, -errno.EOPNOTSUPP) if number == XFeature.APX else (-errno.EOPNOTSUPP,)
    return known, "INV-42" if number == XFeature.XTILE_DATA else "INV-3"


def _allowed_dynamic(event: Event, told: Told) -> tuple[tuple[int, ...], str]:
    assert isinstance(event.call, ArchPrctl)  # noqa: S101 - for the type checker
    if event.call.code != _GUEST:
        return (0, -errno.ENOSPC), "INV-2"
    if event.by in told.granted:
        return (0,), "INV-2"
    if MAIN in told.locked and event.by == MAIN and not told.relations:
        return (-errno.EBUSY,), "INV-4"
    return (0, -errno.EBUSY), "INV-6"


def bitmaps(event: Event, told: Told) -> Iterator[Finding]:
    """Expect a bitmap without the kernel's own bits, within what the CPU has (INV-1, INV-7)."""
    if not isinstance(event.call, ArchPrctl) or event.call.code not in _GETS or not event.output:
        return
    value = u64(event.output, 0)
    name = ArchPrctlCode(event.call.code).name
    if value & _HIDDEN:
        text = f"ARCH_{name} shows {names(value & _HIDDEN)}"
        yield Finding("permission", "INV-7", event.step, text)
    default = told.host.user_features & ~DYNAMIC
    if value & ~told.host.user_features or default & ~value:
        text = f"ARCH_{name} is {names(value)}, not {names(default)} with or without XTILE_DATA"
        yield Finding("permission", "INV-1", event.step, text)
    is_guest = event.call.code == ArchPrctlCode.GET_XCOMP_GUEST_PERM
    if is_guest and event.by in told.granted and not value & DYNAMIC:
        yield Finding("permission", "INV-2", event.step, "XTILE_DATA was granted and is not there")


def growth(event: Event, told: Told) -> Iterator[Finding]:
    """Expect permission and KVM_CAP_XSAVE2 never to shrink within a process (INV-2, INV-8)."""
    value, before = growing(event), told.grown.get(event.call)
    if value is None or before is None or event.result < 0:
        return
    if event.name == "KVM_CHECK_EXTENSION" and value < before:
        text = f"KVM_CAP_XSAVE2 has shrunk from {before} to {value}"
        yield Finding("growth", "INV-8", event.step, text)
    if isinstance(event.call, ArchPrctl) and before & ~value:
        text = f"{event.op.text} has lost {names(before & ~value)}"
        yield Finding("growth", "INV-2", event.step, text)


def sizes(event: Event, told: Told) -> Iterator[Finding]:
    """Hold KVM_CAP_XSAVE2 against the size in CPUID 0xD.0:ECX, at least 4096 (INV-8)."""
    if event.by != MAIN:
        return
    if event.name == "KVM_CHECK_EXTENSION" and immediate_of(event.call) == KvmCap.XSAVE2:
        table, size = cpuid_of(told.system_reading("KVM_GET_SUPPORTED_CPUID")), event.result
    elif event.name == "KVM_GET_SUPPORTED_CPUID":
        table, size = cpuid_of(event.output), told.xsave2_size
    else:
        return
    if table and table.xstate_size and size and size != max(KVM_XSAVE_SIZE, table.xstate_size):
        text = f"KVM_CAP_XSAVE2 is {size}, but CPUID 0xD.0:ECX is {table.xstate_size}"
        yield Finding("two-views", "INV-8", event.step, text)


def supported_table(event: Event, told: Told) -> Iterator[Finding]:
    """Expect XTILE_CFG and XTILE_DATA or neither, within what KVM has (INV-9, INV-10)."""
    if event.name != "KVM_GET_SUPPORTED_CPUID" or event.result < 0:
        return
    table = cpuid_of(event.output)
    if table is None:
        return
    if table.xcr0 & ~told.host.kvm_xcr0:
        text = f"0xD.0 has {names(table.xcr0 & ~told.host.kvm_xcr0)}, XCOMP_GUEST_SUPP has not"
        yield Finding("two-views", "INV-9", event.step, text)
    if table.xcr0 & XTILE not in {0, XTILE}:
        text = f"0xD.0 has {names(table.xcr0 & XTILE)} alone, which no XCR0 can have"
        yield Finding("closure", "INV-10", event.step, text)
    granted = event.by == MAIN and MAIN in told.granted
    if granted and told.host.kvm_xcr0 & ~table.xcr0 & DYNAMIC:
        text = "0xD.0 lacks XTILE_DATA though permission was granted"
        yield Finding("closure", "INV-10", event.step, text)


def unpermitted(event: Event, told: Told) -> Iterator[Finding]:
    """Expect no table with XTILE_DATA accepted of a process that never asked for it (INV-11)."""
    if event.name != "KVM_SET_CPUID2" or event.result != 0 or told.relations:
        return
    vcpu = told.vcpu(event)
    if vcpu is None or vcpu.expanded or MAIN in told.granted or told.rewrites_cpuid:
        return
    table = told.table_given(event)
    if table and table.xcr0 & XFeature.XTILE_DATA.bit:
        text = "KVM_SET_CPUID2 accepts XTILE_DATA without permission"
        yield Finding("permission", "INV-11", event.step, text)


def other_memory(event: Event, told: Told) -> Iterator[Finding]:
    """Expect EIO where a forked process asks its parent's VM or vCPU (INV-41)."""
    if not isinstance(event.call, Ioctl) or told.relations.get(event.by) is not Relation.FORK:
        return
    if event.on in told.own_descriptors and event.result != -errno.EIO:
        text = f"{event.op.text} by a forked process returns {event.result}, not -EIO"
        yield Finding("other-memory", "INV-41", event.step, text)
