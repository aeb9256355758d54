"""What every registered op promises."""

from __future__ import annotations

import errno
import json
from dataclasses import fields

import pytest

from kvmprobe.errors import errno_name
from kvmprobe.model.machine import Machine
from kvmprobe.model.outcome import Failed, Step
from kvmprobe.scenarios import catalog
from kvmprobe.scenarios.calls import from_wire, to_wire
from kvmprobe.scenarios.catalog.behaviour_probes import PROBES
from kvmprobe.scenarios.ops import decode, encode, registry
from kvmprobe.scenarios.ops.sregs import GetSregs, GetSregs2
from tests.support.hosts import AMX_HOST, PROFILES, machine_with_vcpu, set_cpuid

# A value that means something in each field of any op, on any host.
VALUES = {
    "feature_nr": 18,
    "xcr0": 0x3,
    "xfd": 0,
    "xfd_err": 0,
    "xstate_bv": 0x3,
    "capacity": 0,
    "value": 0,
    "register_id": 0,
    "db0": 0,
    "dr6": 0xFFFF_0FF0,
    "dr7": 0x400,
    "edx": 0,
    "mp_state": 0,
    "rbx": 0,
    "cr4": 0,
    "indices": (0x277,),
    "entries": ((0x277, 0),),
    "malformation": "none",
    "number": 0,
    "size": 4096,
    "given": "first",
    "task": "thread",
    "attr": 0,
    "by": "",
    "cap": 208,
    "configuration": "full",
    "cr0": 0x8001_0033,
    "ecx": 0,
    "executes": 19,
    "fcw": 0x27F,
    "file": 16,
    "index": 0x1C4,
    "leaf": 0xD,
    "mxcsr": 0x1FA0,
    "offset": 0,
    "part": "xcrs",
    "pkru": 4,
    "reserved": 0,
    "restores": "xrstor",
    "rfbm": 3,
    "saves": "xsavec",
    "source": "vcpu0",
    "subleaf": 1,
    "tile": 1,
    "xcomp_bv": 0,
    "code": 0x1022,
    "flags": 0,
    "group": 0,
    "id": 1,
    "ioctl": "KVM_GET_XCRS",
    "on": "vcpu0",
    "option": 0x1026,
    "relation": "thread",
    "room": 2,
    "stack_size": 65536,
    "table": "no-amx",
    "vcpu": "vcpu0",
    "vm": "vm",
}


def instance(name):
    op_class = registry()[name]
    return op_class(**{f.name: VALUES[f.name] for f in fields(op_class)})


def with_captures(machine, table):
    """The machine with what ops restore that others have captured."""
    for op in (GetSregs(), GetSregs2()):
        machine = op.step(machine).machine
    moved = {("vcpu0", "xcrs"): machine.vcpu("vcpu0")}
    return machine.but(captured={"supported-cpuid": table}, moved=moved)


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
    machine = with_captures(machine, next(iter(table.values())))
    assert isinstance(instance(name).step(machine), Step)


@each_op
def test_it_cites_its_sources(name):
    # A source is a path in the kernel's tree, or a section of the SDM.
    cites = registry()[name].cites
    assert cites
    assert all("/" in cite or cite.startswith("SDM") for cite in cites)


@each_op
def test_it_names_the_kernel_call(name):
    call = registry()[name].kernel_call
    assert call.startswith(("KVM_", "ARCH_")) or call.endswith(")")


@each_op
def test_its_text_is_one_line(name):
    assert "\n" not in instance(name).text


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
