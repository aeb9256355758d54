"""How much the model leaves open, family by family, against a table that is checked in.

``KVMPROBE_UPDATE_GOLDEN=1`` writes the table anew; its change is to be read and justified.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import pytest

from kvmprobe.judge.unspecified import open_bytes
from kvmprobe.model.sapphire_rapids import sapphire_rapids
from kvmprobe.scenarios import catalog

TABLE = Path(__file__).parents[1] / "golden" / "unspecified.json"


@pytest.fixture(scope="module")
def counted():
    host = sapphire_rapids()
    found = {}
    for scenario in catalog.scenarios(host):
        found.setdefault(scenario.family, Counter()).update(open_bytes(scenario, host))
    if os.environ.get("KVMPROBE_UPDATE_GOLDEN") == "1":
        TABLE.write_text(json.dumps(found, indent=2, sort_keys=True) + "\n")
    return found


@pytest.fixture(scope="module")
def table(counted):
    return {family: Counter(reasons) for family, reasons in json.loads(TABLE.read_text()).items()}


def test_no_family_leaves_more_open_than_the_table_says(counted, table):
    grown = {family: found - table.get(family, Counter()) for family, found in counted.items()}
    assert {family: dict(more) for family, more in grown.items() if more} == {}


def test_the_table_names_no_family_that_is_gone(counted, table):
    assert table.keys() <= counted.keys()
