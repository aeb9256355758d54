"""What a correct kernel does in the whole catalogue is expected, found legal, and survived.

``KVMPROBE_UPDATE_GOLDEN=1`` rewrites ``golden/unspecified.json``, how much the model leaves open;
read its diff and justify it.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

from kvmprobe.errors import errno_name
from kvmprobe.scenarios.ops import registry
from tests.support.hosts import AMX_HOST

OPEN_BYTES = Path(__file__).parents[1] / "golden" / "unspecified.json"


def test_it_dies_in_no_scenario(on_each_host):
    assert on_each_host.dying == []


def test_it_diverges_in_no_scenario(on_each_host):
    assert on_each_host.diverging == []


def test_some_scenarios_have_several_legal_answers(on_each_host):
    # The judge and the checkers have seen each of them.
    assert max(on_each_host.legal.values()) > 1


def test_the_checkers_find_nothing(on_each_host):
    assert on_each_host.findings[:3] == []


def test_every_errno_is_documented(on_each_host):
    ops = registry()
    undocumented = {
        name: seen - set(map(errno_name, ops[name].errnos))
        for name, seen in on_each_host.errnos.items()
    }
    assert {name: errnos for name, errnos in undocumented.items() if errnos} == {}


def test_the_model_leaves_no_more_open_than_the_table_says(swept):
    counted = swept(AMX_HOST).open_bytes
    # One test reads and writes the file, so that no other process sees half of it.
    if os.environ.get("KVMPROBE_UPDATE_GOLDEN") == "1":
        OPEN_BYTES.write_text(json.dumps(counted, indent=2, sort_keys=True) + "\n")
    table = {family: Counter(found) for family, found in json.loads(OPEN_BYTES.read_text()).items()}
    grown = {
        family: dict(found - table.pop(family, Counter())) for family, found in counted.items()
    }
    assert {family: more for family, more in grown.items() if more} == {}
    assert table == {}, "families that are in the table and not in the catalogue"
