"""The order of a run that has only some minutes."""

from kvmprobe.cli.derived import by_coverage
from kvmprobe.cli.select import all_ids
from kvmprobe.coverage.first import order, places
from kvmprobe.scenarios import catalog
from tests.support.hosts import AMX_HOST


def test_each_time_the_scenario_comes_that_adds_most():
    reached = {"one": 0b1, "some": 0b0110, "most": 0b0111, "other": 0b1_1000, "same": 0b111}
    assert list(order(reached)) == ["most", "other"]


def test_a_scenario_that_adds_nothing_is_left_out():
    assert list(order({"nothing": 0})) == []


def test_the_file_names_scenarios_of_the_catalogue():
    assert places()
    assert set(places()) <= set(all_ids())


def test_what_adds_coverage_comes_first_and_the_rest_as_listed():
    listed = catalog.scenarios(AMX_HOST)
    names = [s.id for s in by_coverage(lambda host: listed)(AMX_HOST)]
    first = [name for name in places() if name in names]
    assert names[: len(first)] == first
    assert names[len(first) :] == [s.id for s in listed if s.id not in places()]
