"""The schema of scenario documents is a schema, and takes what the catalogue is written as."""

import json

import pytest
from jsonschema import Draft202012Validator

from kvmprobe.model.sapphire_rapids import sapphire_rapids
from kvmprobe.scenarios import catalog
from kvmprobe.scenarios.document import to_document
from kvmprobe.scenarios.document_schema import document_schema

SCHEMA = document_schema()
OPS = {
    schema["properties"]["op"]["const"]: Draft202012Validator(schema)
    for schema in SCHEMA["$defs"]["op"]["oneOf"]
}


def test_it_is_a_schema():
    Draft202012Validator.check_schema(SCHEMA)


def test_it_takes_every_op_of_the_catalogue():
    ops = {}
    for scenario in catalog.scenarios(sapphire_rapids()):
        for step in json.loads(to_document(scenario))["steps"]:
            for op in (step["op"], *step["observers"]):
                ops[json.dumps(op)] = op
    assert [op for op in ops.values() if not OPS[op["op"]].is_valid(op)] == []


def test_it_refuses_what_is_wrong_with_a_field():
    assert not OPS["set-xfd"].is_valid({"op": "set-xfd", "xfd": -1})
    assert not OPS["guest-execute"].is_valid({"op": "guest-execute", "executes": 15})


@pytest.mark.parametrize(
    ("op", "field", "good", "bad"),
    [
        ("set-xsave-literal", "image", "AAAA", ["AAA!", 1, None, ["AAAA"], "A" * 90000]),
        ("set-sregs-literal", "sregs", "A" * 416, ["AAAA", "A" * 420]),
        ("set-sregs2-literal", "sregs2", "A" * 427 + "=", ["A" * 416, "A" * 432]),
        (
            "set-cpuid2-entries",
            "leaves",
            [[13, 0, 1, 3, 0, 0, 0]],
            [[[13]], [[-1] * 7], [[1.5] * 7]],
        ),
        (
            "set-cpuid2-template",
            "changes",
            [[13, 0, 1, "eax", 7, 3]],
            [[[13, 0, 1, "rax", 7, 3]], [[13, 0, 1, "eax", 7]], [[13, 0, 1, 0, 7, 3]]],
        ),
    ],
)
def test_literal_fields_have_their_form(op, field, good, bad):
    assert OPS[op].is_valid({"op": op, field: good})
    assert [value for value in bad if OPS[op].is_valid({"op": op, field: value})] == []
