"""The checked-in schema of scenario documents is that of the ops that there are."""

import json
from pathlib import Path

import kvmprobe
from kvmprobe.model.sapphire_rapids import sapphire_rapids
from kvmprobe.scenarios import catalog
from kvmprobe.scenarios.document import to_document
from kvmprobe.scenarios.document_schema import document_schema

FILE = Path(kvmprobe.__file__).parent / "scenarios/scenario-1.schema.json"
SCHEMA = json.loads(FILE.read_text())
OPS = {op["properties"]["op"]["const"]: op for op in SCHEMA["$defs"]["op"]["oneOf"]}


def test_the_file_is_what_scripts_scenario_schema_writes():
    assert document_schema() == SCHEMA


def test_every_op_of_the_catalogue_has_the_members_that_the_schema_says():
    odd = set()
    for scenario in catalog.scenarios(sapphire_rapids()):
        for step in json.loads(to_document(scenario))["steps"]:
            for op in (step["op"], *step["observers"]):
                schema = OPS[op["op"]]
                if not set(schema["required"]) <= set(op) <= set(schema["properties"]):
                    odd.add(op["op"])
    assert odd == set()
