"""What every registered op promises."""

from __future__ import annotations

import errno
import json
from dataclasses import fields

import pytest

from kvmprobe.errors import errno_name
from kvmprobe.model.machine import Machine
from kvmprobe.model.outcome import Failed, Step
from kvmprobe.model.permission import request_guest_permission
from kvmprobe.scenarios import catalog
from kvmprobe.scenarios.calls import from_wire, to_wire
from kvmprobe.scenarios.catalog.behaviour_probes import PROBES
from kvmprobe.scenarios.ops import decode, encode, registry
from tests.support.hosts import AMX_HOST, PROFILES, machine_with_vcpu, set_cpuid

# A value that means something in each field of any op, on any host.
VALUES = {"feature_nr": 18, "xcr0": 0x3, "xfd": 0, "xfd_err": 0, "xstate_bv": 0x3}


def instance(name):
    op_class = registry()[name]
    return op_class(**{f.name: VALUES[f.name] for f in fields(op_class)})


each_op = pytest.mark.parametrize("name", sorted(registry()))
each_host = pytest.mark.parametrize("host", PROFILES.values(), ids=PROFILES)


@each_op
def test_it_survives_json(name):
    assert decode(json.loads(json.dumps(encode(instance(name))))) == instance(name)


@each_op
@each_host
def test_it_can_be_lowered_on_every_host(name, host):
    call = instance(name).lower(host)
    assert from_wire(json.loads(json.dumps(to_wire(call)))) == call


@each_op
@each_host
def test_the_model_can_step_it_on_every_host(name, host):
    machine = machine_with_vcpu(host)
    table = set_cpuid(machine, 0x3).machine.captured
    machine = machine.but(captured={"supported-cpuid": next(iter(table.values()))})
    assert isinstance(instance(name).step(machine), Step)


@each_op
def test_it_cites_its_sources(name):
    # A source is a path in the kernel's tree, or a section of the SDM.
    cites = registry()[name].cites
    assert cites
    assert all("/" in cite or cite.startswith("SDM") for cite in cites)


@each_op
def test_it_names_the_kernel_call(name):
    assert registry()[name].kernel_call.startswith(("KVM_", "ARCH_", "open("))


@each_op
def test_its_text_is_one_line(name):
    assert "\n" not in instance(name).text


@each_op
def test_its_rule_names_a_source(name):
    machine = request_guest_permission(Machine.fresh(AMX_HOST), 18).machine
    if name not in {"open-kvm", "create-vm", "req-guest-perm"}:
        machine = machine_with_vcpu(granted=True, cpuid_xcr0=0x602E7)
        machine = machine.but(captured={"supported-cpuid": machine.captured["table"]})
    assert instance(name).step(machine).rule


@each_op
def test_some_scenario_uses_it(name):
    every = [*catalog.scenarios(AMX_HOST), *PROBES.values()]
    assert name in {op.name for s in every for _, op in s.ops()}


@each_op
def test_its_name_is_lower_case_with_dashes(name):
    assert name == name.lower().replace("_", "-")


@each_host
def test_every_errno_that_the_model_expects_is_documented(host):
    undocumented = set()
    for scenario in catalog.scenarios(host):
        if scenario.needs_amx and not host.amx:
            continue
        machine = Machine.fresh(host)
        for _, op in scenario.ops():
            step = op.step(machine)
            if isinstance(step.outcome, Failed):
                name = errno_name(step.outcome.errno).split()[0]
                if name not in op.errnos:
                    undocumented.add((op.name, name))
            machine = step.machine
    assert undocumented == set()


@each_op
def test_its_errnos_exist(name):
    numbers = set(errno.errorcode.values()) | {"EOPNOTSUPP"}
    assert set(registry()[name].errnos) <= numbers
