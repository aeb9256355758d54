"""Equal states of the model are one object, and states that differ in anything are not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kvmprobe.model.machine import MAIN, Machine
from kvmprobe.scenarios.cpuid_tables import Table
from kvmprobe.scenarios.model_run import ModelRun
from kvmprobe.scenarios.model_states import States
from kvmprobe.scenarios.ops.cpuid import GetSupportedCpuid, SetCpuid2
from kvmprobe.scenarios.ops.lifecycle import CreateVcpu, CreateVm, OpenKvm
from kvmprobe.scenarios.ops.msrs import SetXfd
from kvmprobe.scenarios.ops.permission import RequestGuestPermission
from kvmprobe.scenarios.ops.xcrs import SetXcrs
from kvmprobe.scenarios.scenario import Scenario, ScenarioStep
from tests.support.hosts import AMX_HOST, TABLE, amx_vcpu

CREATED = (RequestGuestPermission(18), OpenKvm(), CreateVm(), CreateVcpu())
VCPU = (*CREATED, GetSupportedCpuid(), SetCpuid2(Table.FULL))


def last_state(model_run, *ops):
    scenario = Scenario("test", "test", "", tuple(ScenarioStep(op) for op in (*VCPU, *ops)))
    return model_run.walked(scenario)[-1].step.machine


def test_two_orders_that_lead_to_equal_states_lead_to_one():
    model_run = ModelRun(AMX_HOST)
    first = last_state(model_run, SetXcrs(3), SetXfd(0))
    assert last_state(model_run, SetXfd(0), SetXcrs(3)) is first
    assert last_state(model_run, SetXfd(0), SetXcrs(7)) is not first


def test_what_is_unspecified_in_a_table_tells_states_apart():
    # Two tables that differ only in it compare equal.
    machine = amx_vcpu()
    table = machine.captured[TABLE]
    other = replace(table, unspecified=table.unspecified ^ {(7, None)})
    assert other == table
    states = States()
    assert states.same(machine) is machine
    changed = machine._replace(captured={**machine.captured, TABLE: other})
    assert states.same(changed) is changed


@pytest.mark.parametrize("field", [name for name in Machine._fields if name != "host"])
def test_each_part_of_a_machine_tells_states_apart(field):
    machine, states = Machine.fresh(AMX_HOST), States()
    assert states.same(machine) is machine
    new = {"closed": frozenset({(MAIN, "kvm")}), "payload": 1}.get(field, {"odd": "odd"})
    changed = machine._replace(**{field: new})
    assert states.same(changed) is changed
    assert states.same(machine._replace()) is machine
