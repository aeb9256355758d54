"""Scenarios with one more step that must not matter, before the step of that number."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.abi.ioctls import Descriptor
from kvmprobe.model.sapphire_rapids import sapphire_rapids
from kvmprobe.scenarios.calls import DuringRun, RunGuest, RunVcpu
from kvmprobe.scenarios.derived import Aspect
from kvmprobe.scenarios.domain import judgeable
from kvmprobe.scenarios.ops.lifecycle import CreateVcpu, CreateVm
from kvmprobe.scenarios.ops.run import RunImmediateExit, RunUntilHalt
from kvmprobe.scenarios.relations.derivation import Derivation, Rewritten
from kvmprobe.scenarios.scenario import ScenarioStep

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kvmprobe.scenarios.ops import Op
    from kvmprobe.scenarios.scenario import Scenario

# RIP, and whether it waits for an interrupt.
_CHANGED_BY_GUEST = {"KVM_GET_REGS", "KVM_GET_MP_STATE", "KVM_GET_VCPU_EVENTS", "KVM_GET_LAPIC"}
_OTHER_VM = CreateVm(vm="beside")
_BESIDE: tuple[Op, ...] = (_OTHER_VM, CreateVcpu(vcpu="beside0", vm="beside"))


def inserted(base: Scenario, number: int, ops: tuple[Op, ...]) -> Rewritten:
    """Return the steps of a scenario with other ops before one of them."""
    more = tuple(ScenarioStep(op) for op in ops)
    steps = (*base.steps[:number], *more, *base.steps[number:])
    places = (place + len(more) * (place >= number) for place in range(len(base.steps)))
    return Rewritten(steps, tuple(places))


def first_vcpu(base: Scenario) -> int:
    """Return the number of the step after which there is a vCPU; the last one if there is none."""
    made = (n for n, step in enumerate(base.steps) if step.op.binds_kind is Descriptor.VCPU)
    return next(made, len(base.steps))


def is_run(op: Op) -> bool:
    """Return True if the op calls KVM_RUN."""
    return isinstance(op.lower(sapphire_rapids()), RunVcpu | RunGuest | DuringRun)


def sets_cpuid(op: Op) -> bool:
    """Return True if the op gives a vCPU a CPUID table, which KVM_RUN makes final."""
    return op.call_name.startswith("KVM_SET_CPUID")


def _twice(base: Scenario) -> Iterator[int]:
    for number, step in enumerate(base.steps):
        if Descriptor.VCPU in step.op.on_kinds and step.op.call_name.startswith("KVM_SET_"):
            yield number


def _repeat(base: Scenario, number: int) -> tuple[Op, ...]:
    return (base.steps[number].op,)


def _beside(base: Scenario) -> Iterator[int]:
    # The first vCPU freezes guest permission, and a second VM's would do so as well.
    yield from range(first_vcpu(base) + 1, len(base.steps))


def _kicked(base: Scenario) -> Iterator[int]:
    yield from range(first_vcpu(base) + 1, len(base.steps))


def _ran(base: Scenario) -> Iterator[int]:
    """Yield where a vCPU can have run: no table follows, and nothing reads what a guest changes."""
    if any(op.call_name in _CHANGED_BY_GUEST for _, op in base.ops()):
        return
    tables = [number for number, step in enumerate(base.steps) if sets_cpuid(step.op)]
    runs = (number for number, step in enumerate(base.steps) if is_run(step.op))
    first = max((first_vcpu(base), *tables)) + 1
    yield from range(first, min(next(runs, len(base.steps)) + 1, len(base.steps)))


def _derivation(
    name: str,
    summary: str,
    places: Callable[[Scenario], Iterator[int]],
    ops: Callable[[Scenario, int], tuple[Op, ...]],
) -> Derivation:
    def rewrite(base: Scenario, variant: str) -> Rewritten:
        return inserted(base, int(variant), ops(base, int(variant)))

    def variants(base: Scenario) -> Iterator[str]:
        for number in places(base):
            if judgeable((step.op for step in rewrite(base, str(number)).steps), sapphire_rapids()):
                yield str(number)

    return Derivation(name, summary, Aspect.REPEATS, rf"{name}-\d+", variants, rewrite)


TWICE = _derivation("twice", "a step done twice", _twice, _repeat)
BESIDE = _derivation(
    "beside", "another VM with a vCPU is created before that step", _beside, lambda *_: _BESIDE
)
KICKED = _derivation(
    "kicked",
    "KVM_RUN with immediate_exit before that step",
    _kicked,
    lambda *_: (RunImmediateExit(),),
)
RAN = _derivation("ran", "KVM_RUN until HLT before that step", _ran, lambda *_: (RunUntilHalt(),))
