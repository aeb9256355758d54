"""Which derived scenarios run beside those that were selected."""

from __future__ import annotations

import pytest

from kvmprobe.cli.derived import expanded, listing, unknown
from kvmprobe.cli.select import all_ids, in_catalog_order
from kvmprobe.cli.traits import catalogue
from kvmprobe.scenarios import relations
from tests.support.hosts import AMX_HOST
from tests.support.runs import passed

ID = "sregs.run.cpuid"
# It reads only once, so that it has no blind twin.
ONCE = next(
    traits.scenario.id
    for traits in catalogue()
    if not list(relations.BLIND.suffixes(traits.scenario))
)


@pytest.mark.parametrize(
    ("observe", "ids"),
    [
        ("each", [ID]),
        ("end", [f"{ID}.blind"]),
        ("none", [f"{ID}.unread"]),
        ("both", [ID, f"{ID}.blind"]),
    ],
)
def test_observation_decides_which_twins_run(observe, ids):
    assert expanded([ID], observe) == ids


@pytest.mark.parametrize("observe", ["end", "both"])
def test_without_a_twin_the_scenario_itself_runs(observe):
    assert expanded([ONCE], observe) == [ONCE]


def test_a_sample_has_every_scenario_and_some_twins():
    ids = [name for name in all_ids() if name.startswith("xsave.")]
    found = expanded(ids, "sample")
    assert [name for name in found if name in set(ids)] == ids
    assert 0 < len(found) - len(ids) < len(ids) / 2


def test_a_relation_adds_what_is_derived_by_it():
    found = expanded([ID], "each", ["ran", "none"])
    assert found[0] == ID
    assert {name.rpartition("-")[0] for name in found[1:]} == {f"{ID}.ran"}


def test_all_relations_contain_each():
    found = set(expanded([ID], "each", ["all"]))
    assert all(found.issuperset(expanded([ID], "each", [r.name])) for r in relations.RELATIONS)


def test_the_ids_of_the_catalogue_stay_as_they_are():
    assert expanded(all_ids(), "each") == all_ids()


def test_what_is_planned_is_listed_after_its_base():
    listed = [s.id for s in listing([f"{ID}.blind"])(AMX_HOST)]
    assert listed[listed.index(ID) + 1] == f"{ID}.blind"
    assert len(listed) == len(all_ids()) + 1


def test_ids_that_do_not_exist_are_named():
    gone = {f"{ID}.blinded", f"{ID}.twice-99", "no.such.blind"}
    assert unknown([ID, f"{ID}.blind", *gone]) == gone


def test_records_of_derived_scenarios_follow_their_base():
    records = [passed(name) for name in (f"{ID}.blind", ONCE, ID)]
    ordered = [record.id for record in in_catalog_order(records)]
    assert ordered.index(f"{ID}.blind") == ordered.index(ID) + 1
