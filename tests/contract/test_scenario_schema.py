"""The schema of scenario documents is a schema, and takes what the catalogue is written as."""

import json

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
