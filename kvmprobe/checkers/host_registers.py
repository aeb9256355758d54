"""A call leaves the FPU registers of the thread that makes it, and of other tasks, as they were."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.checkers.checker import EVERY_CALL, at
from kvmprobe.results.claim import Claim
from kvmprobe.results.record import Finding, Statement

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmprobe.checkers.event import Event
    from kvmprobe.checkers.observed import ObservedState
    from kvmprobe.results.trace import RegisterChange
    from kvmprobe.xstate.layout import Layout


@at(*EVERY_CALL)
def registers_are_kept(event: Event, state: ObservedState) -> Iterator[Finding]:
    """Check that the calling thread has the registers that it had before the call.

    x87, SSE, AVX, AVX-512 and AMX state are the thread's own fpstate, which KVM exchanges with the
    guest's (arch/x86/kernel/fpu/core.c: fpu_swap_kvm_fpstate, switch_fpu_return;
    arch/x86/kvm/x86.c: kvm_load_guest_fpu, kvm_put_guest_fpu).  PKRU is exchanged apart from it
    (arch/x86/kvm/x86.c: kvm_load_guest_xsave_state, kvm_load_host_xsave_state).
    """
    found = _statements(Claim.HOST_REGISTERS_CHANGED, event.changes, event, state)
    if found:
        first, *others = found
        yield Finding("host-registers", "INV-47", event.step, first, tuple(others))


@at(*EVERY_CALL)
def others_keep_registers(event: Event, state: ObservedState) -> Iterator[Finding]:
    """Check that a task which ran on the same CPU during the call has its registers.

    The kernel saves and restores them as it switches tasks, whether the registers of the CPU were
    the calling thread's or its guest's (arch/x86/include/asm/fpu/sched.h: switch_fpu;
    arch/x86/kernel/fpu/context.h: fpregs_restore_userregs; arch/x86/kernel/process_64.c:
    x86_pkru_load).
    """
    found = _statements(Claim.COMPETING_REGISTERS_CHANGED, event.other_changes, event, state)
    if found:
        first, *others = found
        yield Finding("competition", "INV-48", event.step, first, tuple(others))


def _statements(
    claim: Claim, changes: tuple[RegisterChange, ...], event: Event, state: ObservedState
) -> list[Statement]:
    layout = state.host.layout
    return [Statement(claim, _values(change, layout), (event.op,)) for change in changes]


def _values(change: RegisterChange, layout: Layout) -> dict[str, int | str]:
    region, _ = layout.region_of(change.offset, change.offset + 1)
    return {
        "offset": change.offset,
        "region": region,
        "expected": change.expected.hex(),
        "observed": change.observed.hex(),
    }
