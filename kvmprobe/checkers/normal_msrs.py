"""What the host reads of an MSR that it wrote: the stated normalisations, and MSRs that move.

IA32_PAT and the MSRs of system calls come back as they were written.  Of any other one KVM may
ignore a write, or bits that it does not implement: no bit appears that was neither written nor
there before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.abi.numbers import msr_name
from kvmprobe.checkers.checker import at
from kvmprobe.checkers.registers import MSR_READS, msr_of, registers_read
from kvmprobe.results.claim import Claim

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmprobe.checkers.event import Event
    from kvmprobe.checkers.observed import ObservedState
    from kvmprobe.results.record import CallRecord, Finding

_ALL = (1 << 64) - 1
# The time: IA32_TIME_STAMP_COUNTER, IA32_MPERF, IA32_APERF, HV_X64_MSR_VP_RUNTIME,
# HV_X64_MSR_TIME_REF_COUNT, IA32_TSC_DEADLINE, counters of performance events.
_COUNTERS = (*range(0xC1, 0xC9), *range(0x309, 0x310), *range(0x4C1, 0x4C9))
_COUNTERS_OF_AMD = (*range(0xC001_0004, 0xC001_0008), *range(0xC001_0201, 0xC001_020C, 2))
_CLOCKS = (0x10, 0xE7, 0xE8, 0x4000_0010, 0x4000_0020, 0x6E0)
MOVING = frozenset({*_CLOCKS, *_COUNTERS, *_COUNTERS_OF_AMD})
_MOVING_NAMES = frozenset(map(msr_name, MOVING))
# IA32_PAT, IA32_STAR, IA32_LSTAR, IA32_FMASK and IA32_KERNEL_GS_BASE (SDM vol.4 table 2-2).
KEPT = frozenset({0x277, 0xC000_0081, 0xC000_0082, 0xC000_0084, 0xC000_0102})
# IA32_SYSENTER_ESP and IA32_SYSENTER_EIP: KVM makes the address canonical (arch/x86/kvm/x86.c:
# __kvm_set_msr), for 48 or 57 bits.
CANONICAL = frozenset({0x175, 0x176})
_ADDRESS_BITS = (48, 57)


def moving_fields(call: CallRecord) -> frozenset[str]:
    """Return the names of a call's values that are of MSRs that move."""
    register = getattr(call.op, "register_id", None)
    if register is not None and msr_of(register) in MOVING:
        return frozenset(call.fields)
    return _MOVING_NAMES.intersection(call.fields)


def reads_back(index: int | None, given: int, read: int, before: int | None) -> bool:
    """Return True if a register may read so after it was written.

    :param index: of an MSR; None if the register is no MSR, which reads back as it was written
    :param before: as it was read before, if it was
    """
    if index in MOVING or given == read:
        return True
    if index in CANONICAL:
        return any(read == _canonical(given, bits) for bits in _ADDRESS_BITS)
    if index is None or index in KEPT:
        return False
    return before is None or not read & ~(given | before)


def _canonical(address: int, bits: int) -> int:
    low = address & (1 << bits) - 1
    return low | (_ALL << bits & _ALL if low >> bits - 1 else 0)


@at(*MSR_READS)
def what_is_written_reads_back(event: Event, state: ObservedState) -> Iterator[Finding]:
    """Check that an MSR reads as the last accepted call wrote it (INV-25)."""
    vcpu = state.vcpu(event)
    if vcpu is None:
        return
    for register_id, value in registers_read(event).items():
        given = vcpu.registers.written.get(register_id)
        before = vcpu.registers.before.get(register_id)
        if given is not None and not reads_back(msr_of(register_id), given, value, before):
            values = {"register": register_id, "accepted": given, "read": value}
            yield event.finding("round-trip", "INV-25", Claim.REGISTER_NOT_KEPT, values)
