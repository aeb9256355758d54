"""What every registered op promises."""

from __future__ import annotations

import base64
import json
import re

import pytest

from kvmprobe.abi.errnos import ERRNOS, RAW
from kvmprobe.execution.wire import define
from kvmprobe.model.nested import SAVED
from kvmprobe.model.outcome import Step
from kvmprobe.scenarios import catalog
from kvmprobe.scenarios.catalog.behaviour_probes import PROBES
from kvmprobe.scenarios.op_fields import required
from kvmprobe.scenarios.ops import decode, encode, registry
from kvmprobe.scenarios.ops.sregs import GetSregs, GetSregs2
from tests.support.hosts import AMX_HOST, PROFILES, machine_with_vcpu, set_cpuid

# A value that means something in each field without a default, on any host.
VALUES = {
    "feature_nr": 18,
    "xcr0": 0x3,
    "xfd": 0,
    "xfd_err": 0,
    "xstate_bv": 0x3,
    "capability": 0,
    "capacity": 0,
    "value": 0,
    "register_id": 0,
    "cr4": 0,
    "indices": [0x277],
    "entries": [[0x277, 0]],
    "size": 40,
    "given": "first",
    "task": "thread",
    "cap": "XSAVE2",
    "cr0": 0x8001_0033,
    "encoding": "TILEZERO_TMM8",
    "executes": "FNCLEX",
    "fcw": 0x27F,
    "file": "XMM",
    "index": 0x1C4,
    "leaves": [[0xD, 0, 1, 3, 0, 0, 0]],
    "changes": [[0xD, 0, 1, "eax", 0xFF, 3]],
    "image": base64.b64encode(bytes(4096)).decode(),
    "sregs": base64.b64encode(bytes(312)).decode(),
    "sregs2": base64.b64encode(bytes(320)).decode(),
    "leaf": 0xD,
    "mxcsr": 0x1FA0,
    "part": "xcrs",
    "pkru": 4,
    "code": "GET_XCOMP_PERM",
    "ioctl": "KVM_GET_XCRS",
    "on": "vcpu0",
    "option": 0x1026,
    "relation": "thread",
    "room": 2,
    "stack_size": 65536,
    "table": "no-amx",
    "address": 0x414000,
    "target": 0x414000,
    "token": 0,
    "count": 1,
    "vcpu": "vcpu0",
    "vm": "vm",
}


def instance(name):
    return decode({"op": name, **{field: VALUES[field] for field in required(registry()[name])}})


def with_captures(machine, table):
    """The machine with what ops restore that others have captured."""
    for op in (GetSregs(), GetSregs2()):
        machine = op.step(machine).machine
    moved = {("vcpu0", part): machine.vcpu("vcpu0") for part in ("xcrs", SAVED)}
    return machine._replace(captured={"supported-cpuid": table}, moved=moved)


# Each test names the ops that fail: a parameter each would be a thousand tests to collect.
OPS = registry()
each_host = pytest.mark.parametrize("host", PROFILES.values(), ids=PROFILES)


def test_it_survives_json():
    def survives(op):
        return decode(json.loads(json.dumps(encode(op)))) == op

    assert [name for name in OPS if not survives(instance(name))] == []


@each_host
def test_it_can_be_lowered_on_every_host(host):
    # A line for the executor: it refuses a call with an argument that does not fit.
    assert all(define(instance(name).lower(host)).words for name in OPS)


@each_host
def test_the_model_can_step_it_on_every_host(host):
    # Guest code needs long mode, and so a table: Requirement.LONG_MODE.
    machine = set_cpuid(machine_with_vcpu(host), 0x3).machine
    machine = with_captures(machine, next(iter(machine.captured.values())))
    steps = {name: instance(name).step(machine) for name in OPS}
    assert [name for name, step in steps.items() if not isinstance(step, Step)] == []


@each_host
def test_the_rule_that_applies_is_one_of_its_rules(host):
    # Guest code needs long mode, and so a table: Requirement.LONG_MODE.
    machine = set_cpuid(machine_with_vcpu(host), 0x3).machine
    machine = with_captures(machine, next(iter(machine.captured.values())))
    rules = {name: instance(name).step(machine).rule for name in OPS}
    assert [name for name, rule in rules.items() if rule not in OPS[name].rules] == []


def test_it_names_the_kernel_call():
    calls = {name: op.kernel_call for name, op in OPS.items()}
    odd = {n: c for n, c in calls.items() if not c.startswith(("KVM_", "ARCH_")) and c[-1] != ")"}
    assert odd == {}


def test_its_text_is_one_line():
    assert [name for name in OPS if "\n" in instance(name).text] == []


def test_some_scenario_uses_it():
    every = [*catalog.scenarios(AMX_HOST), *PROBES.values()]
    assert set(OPS) - {op.name for s in every for _, op in s.ops()} == set()


def test_its_name_is_lower_case_with_dashes():
    assert [name for name in OPS if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name)] == []


def test_each_errno_has_a_meaning():
    unknown = {
        n: [e for e, text in op.errno_meanings().items() if not text] for n, op in OPS.items()
    }
    assert {name: numbers for name, numbers in unknown.items() if numbers} == {}


def test_no_errno_has_two_meanings():
    # Ops and bindings would print different ones.
    twice = {call: set(numbers) & set(ERRNOS.get(call, ())) for call, numbers in RAW.items()}
    assert {call: numbers for call, numbers in twice.items() if numbers} == {}


def test_the_meanings_are_those_of_the_bindings():
    op = OPS["set-xsave"]
    assert op.errno_meanings() == ERRNOS["KVM_SET_XSAVE"]
