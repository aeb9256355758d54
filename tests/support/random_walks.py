"""Any op of the catalogue after any other, as long as what it refers to is there."""

from __future__ import annotations

from functools import cache

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from kvmprobe.model.machine import Machine
from kvmprobe.model.outcome import Done, Failed, HostDies, NotCovered, OneOf
from kvmprobe.scenarios import catalog
from kvmprobe.scenarios.calls import VCPU, Captured, Output
from kvmprobe.scenarios.ops.cpuid import GetSupportedCpuid, SetCpuid2
from kvmprobe.scenarios.ops.lifecycle import CreateVcpu, CreateVm, MapHalt, OpenKvm
from kvmprobe.scenarios.ops.permission import RequestGuestPermission
from kvmprobe.scenarios.ops.xsave import GetXsave2
from kvmprobe.scenarios.scenario import Need, Scenario, ScenarioStep
from tests.support.hosts import xstate_bv

# One vCPU that halts; ops on others, on the guest payload or on closed descriptors stay away.
START = (OpenKvm(), CreateVm(), MapHalt(), CreateVcpu())
AMX_START = (OpenKvm(), RequestGuestPermission(18), *START[1:], GetSupportedCpuid(), SetCpuid2())
_UNFIT = {
    "MapMemory",
    "MapPayload",
    "SharePayload",
    "RunGuest",
    "Close",
    "LimitDescriptors",
    "Spawn",
}
# Which listed MSRs can be read depends on all of the guest's CPUID (contract INV-26, INV-27).
# Some ops are judged in a part of all states only (domain.py); walks do not ask for it.
# A guest that halts does not get as far as an OUT; with the LAPIC in the kernel it does not exit.
_UNFIT_OPS = {
    "get-listed-msrs",
    "restore-listed-msrs",
    "run-until-out",
    "run-synced",
    "latch-init",
    "enable-cap",
    "get-nested-state",
    "set-nested-state",
    "create-irqchip",
}
_PRESENT = {"", "kvm", "vm", VCPU}


@cache
def population(host):
    """The distinct ops of all scenarios of a host that a walk can take, by their text."""
    fit = [s for s in catalog.scenarios(host) if _fits(s, host)]
    ops = {op for s in fit for _, op in s.ops()}
    return sorted((op for op in ops if _is_walkable(op, host)), key=repr)


def _fits(scenario, host):
    return Need.GUEST_CODE not in scenario.needs and (host.amx or not scenario.needs_amx)


def _is_walkable(op, host):
    call = op.lower(host)
    if op.name in _UNFIT_OPS or type(call).__name__ in _UNFIT or getattr(call, "binds", ""):
        return False
    names = {getattr(call, field, "") for field in ("on", "by", "memory")}
    return names <= _PRESENT


@cache
def without_captures(host):
    """Those of the population that need nothing but what is there from the start."""
    return [op for op in population(host) if needed_capture(op, host) is None]


@cache
def with_captures(host):
    """The others, each with the name of the output that it feeds back."""
    needs = [(op, needed_capture(op, host)) for op in population(host)]
    return [(op, needed) for op, needed in needs if needed is not None]


def needed_capture(op, host):
    """The name of the output that an op feeds back, or None."""
    argument = getattr(op.lower(host), "argument", None)
    return argument.name if isinstance(argument, Captured) else None


def made_capture(op, host):
    argument = getattr(op.lower(host), "argument", None)
    return argument.capture if isinstance(argument, Output) else ""


class Walk(RuleBasedStateMachine):
    """The model along a walk; subclasses name the host, and may ask a kernel at the end."""

    host = None

    def __init__(self):
        super().__init__()
        self.machine = Machine.fresh(self.host)
        self.ops = []
        self.captured = set()

    @initialize(start=st.sampled_from([START, AMX_START]))
    def begin(self, start):
        for op in start:
            self.take(op)

    @rule(data=st.data())
    def go_on(self, data):
        fed = [op for op, needed in with_captures(self.host) if needed in self.captured]
        self.take(data.draw(st.sampled_from(without_captures(self.host) + fed)))

    def take(self, op):
        step = op.step(self.machine)
        if isinstance(step.outcome, NotCovered):
            return  # A walk stays where the model judges.
        assert not isinstance(step.outcome, HostDies)
        self.ops.append(op)
        self.machine = step.machine
        made = made_capture(op, self.host)
        if made and isinstance(step.outcome, (Done, OneOf)):
            self.captured.add(made)

    def scenario(self):
        steps = tuple(ScenarioStep(op) for op in self.ops)
        return Scenario("walk.random.any", "random", "any", steps)

    def exported(self):
        outcome = GetXsave2().step(self.machine).outcome
        if isinstance(outcome, Failed):
            return ()  # in a child, whose memory is not the VM's (INV-41)
        return outcome.choices if isinstance(outcome, OneOf) else (outcome,)

    @invariant()
    def no_armed_component_is_loaded(self):
        # INV-29
        for vcpu in self.machine.vcpus.values():
            assert not vcpu.fpstate.load_faults

    @invariant()
    def the_image_has_only_what_the_guest_has(self):
        # INV-17
        if VCPU in self.machine.vcpus:
            allowed = self.machine.vcpu(VCPU).guest_xcr0 | 3
            for choice in self.exported():
                assert not xstate_bv(choice.image.image) & ~allowed

    @invariant()
    def the_image_is_4096_bytes_or_has_room_for_tiles(self):
        # INV-13, INV-14
        if VCPU in self.machine.vcpus:
            size = self.machine.vcpu(VCPU).fpstate.uabi_size
            assert {len(choice.image.image) for choice in self.exported()} <= {size}
            assert size in {4096, 11008}

    @invariant()
    def permission_is_within_what_the_host_has(self):
        # INV-7
        for process in self.machine.processes.values():
            assert not (process.host_perm | process.guest_perm) & ~self.host.user_features
