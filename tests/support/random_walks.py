"""Any op of the catalogue after any other, where the model can judge it."""

from __future__ import annotations

from functools import cache

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from kvmprobe.errors import ScenarioError
from kvmprobe.model.outcome import Failed, HostDies, NotCovered, OneOf
from kvmprobe.scenarios import catalog
from kvmprobe.scenarios.calls import VCPU
from kvmprobe.scenarios.domain import Domain
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
_PRESENT = {"", "kvm", "vm", VCPU}


@cache
def population(host, lacks):
    """By name the distinct ops of all scenarios of a host that a walk can take.

    :param lacks: needs that the host does not meet
    """
    lacks |= {Need.GUEST_CODE} if host.amx else {Need.GUEST_CODE, Need.AMX}
    fit = [scenario for scenario in catalog.scenarios(host) if not scenario.needs & lacks]
    ops = {op for s in fit for _, op in s.ops()}
    found = {}
    for op in sorted((op for op in ops if _is_walkable(op, host)), key=repr):
        found.setdefault(op.name, []).append(op)
    return found


def _is_walkable(op, host):
    call = op.lower(host)
    if type(call).__name__ in _UNFIT or getattr(call, "binds", ""):
        return False
    names = {getattr(call, field, "") for field in ("on", "by", "memory")}
    return names <= _PRESENT


class Walk(RuleBasedStateMachine):
    """The model along a walk; subclasses name the host, and may ask a kernel at the end."""

    host = None
    lacks = frozenset()

    def __init__(self):
        super().__init__()
        self.domain = Domain(self.host)
        self.ops = []

    @initialize(start=st.sampled_from([START, AMX_START]))
    def begin(self, start):
        for op in start:
            self.take(op)

    @rule(data=st.data())
    def go_on(self, data):
        ops = population(self.host, self.lacks)
        name = data.draw(st.sampled_from(sorted(ops)))
        self.take(data.draw(st.sampled_from(ops[name])))

    def take(self, op):
        after = self.domain.copy()
        try:
            step = after.follow(op)
        except ScenarioError:
            return  # A walk stays where the model judges.
        if isinstance(step.outcome, NotCovered):
            return
        assert not isinstance(step.outcome, HostDies)
        self.ops.append(op)
        self.domain = after

    @property
    def machine(self):
        return self.domain.machine

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
