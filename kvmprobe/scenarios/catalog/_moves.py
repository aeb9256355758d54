"""The steps that move a guest to another VM: save, create, restore in an order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.model.guest_migration import MSR_LISTS, Part
from kvmprobe.scenarios.ops.cpuid import SetCpuid2
from kvmprobe.scenarios.ops.guest import SharePayload
from kvmprobe.scenarios.ops.guest_migration import RestoreVcpu, SaveVcpu
from kvmprobe.scenarios.ops.lifecycle import CreateVcpu, CreateVm
from kvmprobe.scenarios.scenario import ScenarioStep

if TYPE_CHECKING:
    from kvmprobe.scenarios.catalog._guests import Start


def move(
    start: Start, order: tuple[Part, ...], source: str, number: int
) -> tuple[ScenarioStep, ...]:
    """Return the steps that move a vCPU to the VM of that number; the order has the MSR list."""
    vm, vcpu = f"vm{number}", f"vcpu{number}"
    msrs = next(part for part in order if part in MSR_LISTS)
    observers = tuple(SaveVcpu(part, vcpu) for part in (Part.XSAVE, Part.XCRS, msrs))
    before, after = (Part.EVENTS, Part.REGS, Part.XSAVE, Part.XCRS, Part.SREGS), (Part.DEBUGREGS,)
    saved = tuple(SaveVcpu(part, source) for part in (*before, msrs, *after))
    made = (CreateVm(vm), SharePayload(vm), CreateVcpu(vcpu, vm), SetCpuid2(start.table, vcpu=vcpu))
    return (
        *(ScenarioStep(op) for op in (*saved, *made)),
        *(ScenarioStep(RestoreVcpu(part, vcpu, source), observers) for part in order),
    )
