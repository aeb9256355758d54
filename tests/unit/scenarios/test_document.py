"""Scenarios as documents: they come back as they were, and nothing else is let in."""

import json
import re
from dataclasses import fields

import pytest

from kvmprobe.errors import ScenarioError
from kvmprobe.model.sapphire_rapids import sapphire_rapids
from kvmprobe.scenarios import catalog
from kvmprobe.scenarios.document import SCHEMA, from_document, to_document
from kvmprobe.scenarios.op_fields import kinds
from kvmprobe.scenarios.ops import registry
from kvmprobe.scenarios.strict_json import DEEPEST, MOST_BYTES

HOST = sapphire_rapids()
CATALOG = {scenario.id: scenario for scenario in catalog.scenarios(HOST)}
OPEN = {"op": {"op": "open-kvm"}}
VM = {"op": {"op": "create-vm"}}
VCPU = {"op": {"op": "create-vcpu"}}


def document(*steps, **changes):
    whole = {"schema": SCHEMA, "id": "a.b", "needs": [], "steps": [OPEN, VM, VCPU, *steps]}
    return json.dumps(whole | changes).encode()


def step(op, **fields):
    return {"op": {"op": op, **fields}}


def one_of_each_row():
    rows = {(s.family, s.row): s for s in CATALOG.values()}
    return list(rows.values())


def test_catalogue_comes_back_as_it_was():
    sample = one_of_each_row()
    back = [from_document(to_document(s).encode()) for s in sample]
    assert [s.id for s, other in zip(sample, back, strict=True) if s != other] == []


def test_each_field_of_each_op_has_a_kind():
    # One that has none is a TypeError, which names the op and the field.
    assert {name: [*kinds(op_class)] for name, op_class in registry().items()} == {
        name: [field.name for field in fields(op_class)] for name, op_class in registry().items()
    }


def test_a_step_needs_no_observers_and_a_field_with_a_default_may_be_left_out():
    found = from_document(document(step("get-cpuid2")))
    assert [s.op.name for s in found.steps][-1] == "get-cpuid2"


WRONG_VALUES = [
    (document(step("set-xfd", xfd="1")), "$.steps[3].op.xfd: expected an integer, not a string"),
    (document(step("set-xfd", xfd=True)), "$.steps[3].op.xfd: expected an integer, not true or"),
    (document(step("set-xfd", xfd=-1)), "$.steps[3].op.xfd: expected 0 to 18446744073709551615"),
    (document(step("set-xfd", xfd=1 << 64)), "$.steps[3].op.xfd: expected 0 to"),
    (document(step("set-xfd", xfd=1.5)), "$.steps[3].op.xfd: expected an integer, not the number"),
    (document(step("set-xfd", xfd=None)), "$.steps[3].op.xfd: expected an integer, not null"),
    (document(step("set-xfd", xfd=[1])), "$.steps[3].op.xfd: expected an integer, not a list"),
    (document(step("set-xfd", xfd={})), "$.steps[3].op.xfd: expected an integer, not an object"),
    (document(step("set-xfd")), "$.steps[3].op: lacks xfd"),
    (document(step("set-xfd", xfd=0, xdf=0)), "$.steps[3].op: has no member 'xdf', but op, xfd"),
    (document(step("launch")), "$.steps[3].op.op: no op is called 'launch'"),
    (document(step(["set-xfd"])), "$.steps[3].op.op: no op is called"),
    (document({"op": {"xfd": 1}}), "$.steps[3].op: has no op"),
    (document({"observers": []}), "$.steps[3]: lacks op"),
    (document("set-xfd"), "$.steps[3]: expected an object, not a string"),
    (document({"op": {"op": "get-xcrs"}, "observers": {}}), "$.steps[3].observers: expected a"),
    (
        document({"op": {"op": "get-xcrs"}, "observers": [{"op": "get-xcrs", "x": 1}]}),
        "$.steps[3].observers[0]: has no member 'x'",
    ),
    (document(step("check-extension", cap=7.0)), "$.steps[3].op.cap: expected one of EXT_CPUID"),
    (document(step("set-cpuid2", table=["full"])), "$.steps[3].op.table: expected one of"),
    (document(step("set-cpuid2", table="huge")), "$.steps[3].op.table: expected one of supported"),
    (
        document(step("set-msrs", entries=[[1, 2], [3, "4"]])),
        "$.steps[3].op.entries[1][1]: expected an integer",
    ),
    (document(step("set-msrs", entries=[[1]])), "$.steps[3].op.entries[0]: expected 2 items"),
    (document(step("set-msrs", entries=[[1 << 32, 2]])), "$.steps[3].op.entries[0][0]: expected 0"),
    (document(step("set-msrs", entries=[[0, 0]] * 5000)), "$.steps[3].op.entries: expected at"),
    (
        document(step("get-xsave2-at-page-end", size=10**12)),
        "$.steps[3].op.size: expected 0 to 65536",
    ),
    (document(step("get-emulated-cpuid", room=10**9)), "$.steps[3].op.room: expected 0 to"),
    (document(step("create-vm", vm="../x")), "$.steps[3].op.vm: expected 1 to 32 of"),
    (document(step("create-vm", vm="x" * 33)), "$.steps[3].op.vm: expected 1 to 32 of"),
    (document(schema="kvmprobe-scenario/3"), "$.schema: expected 'kvmprobe-scenario/2'"),
    (
        document(schema="kvmprobe-scenario/1"),
        "$.schema: expected 'kvmprobe-scenario/2', not 'kvmprobe-scenario/1'; it named some ops",
    ),
    (document(id="../../etc"), "$.id: expected names"),
    (document(row="\x1b[2J"), "$.row: expected at most 64 printable"),
    (document(needs=["root"]), "$.needs[0]: expected one of amx"),
    (document(steps=[]), "$.steps: expected 1 to 1024 steps, not 0"),
    (document(steps=[OPEN] * 1025), "$.steps: expected 1 to 1024 steps, not 1025"),
    (document(steps=None), "$.steps: expected a list, not null"),
    (document(extra=1), "$: has no member 'extra'"),
    (b"[]", "$: expected an object, not a list"),
    (b"7", "$: expected an object, not the number 7"),
]


@pytest.mark.parametrize(("content", "message"), WRONG_VALUES, ids=[m for _, m in WRONG_VALUES])
def test_what_is_wrong_is_told_with_its_path(content, message):
    with pytest.raises(ScenarioError, match=f"^{re.escape(message)}"):
        from_document(content)


UNBOUND = [
    (step("get-supported-cpuid", by="nobody"), "no task is called 'nobody'"),
    (step("close", on="vm7"), "there is no descriptor 'vm7'"),
    (
        step("set-cpuid2"),
        "no output is called 'supported-cpuid' here; get-supported-cpuid binds it",
    ),
    (step("share-payload", vm="vm"), "no memory is called 'payload'"),
    (step("guest-execute", executes="NOP"), "needs a guest with the payload"),
    (step("set-sregs", cr4=0), "no output is called 'sregs' here; get-sregs binds it"),
]


@pytest.mark.parametrize(("last", "message"), UNBOUND, ids=[m for _, m in UNBOUND])
def test_references_that_nothing_binds_are_told(last, message):
    with pytest.raises(ScenarioError, match=f"^{re.escape('$.steps[3].op: ')}.*{message}"):
        from_document(document(last))


def test_more_names_than_there_is_room_for_are_told():
    many = [step("create-vm", vm=f"vm{n}") for n in range(40)]
    with pytest.raises(ScenarioError, match="more than 32 names of a descriptor"):
        from_document(document(*many))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"schema": 1, "schema": 2}', r"^\$: has 'schema' twice"),
        (
            document().replace(b'"op": "open-kvm"', b'"op": "open-kvm", "op": "close"'),
            r"^\$\.steps\[0\]\.op: has 'op' twice",
        ),
        (b"{", "^not JSON: line 1, column 2: "),
        (b"", "^not JSON: line 1, column 1: "),
        (b'{"id": NaN}', "NaN is not JSON"),
        (b"\xff\xfe", "^not JSON: byte 0 is not UTF-8"),
        (b"[" * 100_000, f"^line 1, column {DEEPEST + 1}: nested more than {DEEPEST} deep"),
        (b'{"a":' * 100_000, "nested more than"),
        (b" " * (MOST_BYTES + 1), f"a scenario has at most {MOST_BYTES}"),
        (
            document(step("set-xfd", xfd=0)).replace(b'"xfd": 0', b'"xfd": ' + b"9" * 100_000),
            r"^\$\.steps\[3\]\.op\.xfd: expected an integer",
        ),
    ],
    ids=[
        *("twice", "op twice", "cut off", "empty", "NaN", "UTF-16"),
        *("deep", "deep objects", "large", "100,000 digits"),
    ],
)
def test_text_that_is_no_scenario_is_told_with_its_place(content, message):
    with pytest.raises(ScenarioError, match=message):
        from_document(content)


def test_brackets_in_strings_are_no_nesting():
    with pytest.raises(ScenarioError, match=r"^\$\.id: expected names"):
        from_document(document(id="[" * 60 + '\\"' + "{" * 60))
