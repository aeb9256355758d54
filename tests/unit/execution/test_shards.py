"""Scenarios on several links side by side: which results come out, and in which order."""

import threading

import pytest

from kvmprobe.errors import LabError, RunTimeout
from kvmprobe.execution.link import LinkLostError
from kvmprobe.execution.place import Risk
from kvmprobe.execution.runner import Hazardous, Runner
from kvmprobe.model.behaviours import Behaviour
from kvmprobe.progress import Silent
from kvmprobe.results.verdict import Verdict
from tests.support.fake_link import FakePlace
from tests.support.hosts import AMX_HOST, with_behaviours

DEFECTIVE = with_behaviours(AMX_HOST, Behaviour.SET_XSAVE_KEEPS_XFD_ARMED)


def is_wanted(scenario_id):
    return scenario_id.startswith("restore.") and scenario_id.endswith(
        "perm-granted.xfd-armed.bv-tiles"
    )


def run(jobs=1, killed=None, deadline=float("inf")):
    place = FakePlace(DEFECTIVE, Risk.EXPENDABLE, jobs=jobs, killed=killed or {})
    records = []
    Runner(place, Hazardous.EVERY, records.append, Silent(), deadline).run(is_wanted)
    return place, records


def results(records):
    return [(r.id, r.verdict, r.known, r.findings, r.steps) for r in records]


@pytest.fixture(scope="module")
def alone():
    return results(run()[1])


@pytest.mark.parametrize("jobs", [2, 3, 200])
def test_records_and_their_order_do_not_depend_on_the_number_of_links(alone, jobs):
    assert results(run(jobs)[1]) == alone


@pytest.mark.parametrize("after", [0, 1, 8, 16])
def test_a_host_that_is_killed_from_outside_costs_no_record(alone, after):
    place, records = run(killed={2: after})
    assert results(records) == alone
    assert place.boots > 2


@pytest.mark.parametrize("after", [0, 3])
def test_a_host_that_is_killed_while_it_is_probed_is_probed_again(alone, after):
    assert results(run(killed={1: after})[1]) == alone


def test_a_host_that_is_killed_each_time_it_is_probed_ends_the_run():
    with pytest.raises(LinkLostError, match="killed"):
        run(killed=dict.fromkeys((1, 2, 3), 0))


def test_a_host_that_is_killed_in_each_try_of_a_scenario_breaks_it():
    _, records = run(killed=dict.fromkeys((2, 3, 4), 0))
    broken = [r for r in records if r.verdict is Verdict.BROKEN]
    assert [r.id for r in broken] == [records[0].id]


def test_a_link_that_cannot_be_opened_ends_the_run():
    place = FakePlace(DEFECTIVE, Risk.EXPENDABLE, jobs=2)
    first = place.open

    def only_once():
        if place.boots:
            raise LabError("the emulator could not fork")
        return first()

    place.open = only_once
    with pytest.raises(LabError, match="could not fork"):
        Runner(place, Hazardous.EVERY, lambda _: None, Silent()).run(is_wanted)


def test_the_deadline_ends_the_links():
    with pytest.raises(RunTimeout, match="did not complete"):
        run(jobs=2, deadline=0)


def test_an_error_of_the_sink_ends_the_links():
    place = FakePlace(DEFECTIVE, Risk.EXPENDABLE, jobs=2)

    def sink(_):
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        Runner(place, Hazardous.EVERY, sink, Silent()).run(is_wanted)
    assert not [t for t in threading.enumerate() if t.name.startswith("kvmprobe-shard")]
