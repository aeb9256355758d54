"""What the host reads of an MSR that it wrote: the stated normalisations, and MSRs that move."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.checkers.checker import at
from kvmprobe.checkers.registers import MSR_READS, msr_of, registers_read
from kvmprobe.results.claim import Claim

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmprobe.checkers.event import Event
    from kvmprobe.checkers.observed import ObservedState
    from kvmprobe.results.record import Finding

_ALL = (1 << 64) - 1
# The time: IA32_TIME_STAMP_COUNTER, IA32_MPERF, IA32_APERF, HV_X64_MSR_VP_RUNTIME,
# HV_X64_MSR_TIME_REF_COUNT, IA32_TSC_DEADLINE, counters of performance events.
_COUNTERS = (*range(0xC1, 0xC9), *range(0x309, 0x310), *range(0x4C1, 0x4C9))
MOVING = frozenset({0x10, 0xE7, 0xE8, 0x4000_0010, 0x4000_0020, 0x6E0, *_COUNTERS})


def sure_bits(index: int | None) -> int:
    """Return the bits that read as the host wrote them.

    :param index: of an MSR; None for a register that is none
    """
    return 0 if index in MOVING else _ALL


@at(*MSR_READS)
def what_is_written_reads_back(event: Event, state: ObservedState) -> Iterator[Finding]:
    """Check that an MSR reads as the last accepted call wrote it (INV-25)."""
    vcpu = state.vcpu(event)
    if vcpu is None:
        return
    for register_id, value in registers_read(event).items():
        given = vcpu.registers.written.get(register_id, value)
        if (given ^ value) & sure_bits(msr_of(register_id)):
            values = {"register": register_id, "accepted": given, "read": value}
            yield event.finding("round-trip", "INV-25", Claim.REGISTER_NOT_KEPT, values)
