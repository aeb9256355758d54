"""A run resumes after a crash of its host at any point; no record is lost or written twice."""

from __future__ import annotations

from collections import Counter
from functools import cache

import pytest

from kvmprobe.execution.aftermath import past_of, settle
from kvmprobe.execution.journaling import Journaling
from kvmprobe.execution.runner import Hazardous, Runner
from kvmprobe.model.behaviours import Behaviour
from kvmprobe.progress import Silent
from kvmprobe.results.history import History
from kvmprobe.results.journal import EntryType, read_entries
from kvmprobe.results.run_directory import JOURNAL, RunDirectory
from kvmprobe.results.run_document import Ending
from kvmprobe.results.verdict import Verdict
from kvmprobe.scenarios import catalog
from tests.support.hosts import AMX_HOST, with_behaviours
from tests.support.mortal_host import HostDown, MortalHost, unflushed_writes_are_lost

B1 = Behaviour.SET_XSAVE_KEEPS_XFD_ARMED
O1 = Behaviour.XFD_WRITE_KEEPS_XSTATE_BV
VARIANT = "perm-granted.xfd-armed.bv-tiles"
# 30 orders; B1 needs cpuid < msrs < xsave, O1 cpuid < xsave < msrs: 4!/3! = 4 orders each.
ORDERS, OF_B1, OF_O1 = 30, 4, 4


class Lab:
    """Attempts at one run, each in its own boot."""

    def __init__(self, path, host, monkeypatch, hazardous=Hazardous.STOP, retries=1):
        self.path, self.host, self.hazardous, self.retries = path, host, hazardous, retries
        self._monkeypatch = monkeypatch
        self._boots = 0

    def attempt(self, down_at=None):
        """Run or resume; return True if the host survived."""
        boot = f"boot-{self._boots}"
        self._boots += 1
        begin = {"boot_id": boot, "planned": [], "time": "2026-01-01T00:00:00Z"}
        if self._boots == 1:
            directory, history = RunDirectory.create(self.path, begin), None
        else:
            directory = RunDirectory.open(self.path)
            history = History.of(directory.entries(), boot)
            directory.journal.append(EntryType.BEGIN, begin)
        try:
            with unflushed_writes_are_lost(self.path / JOURNAL, self._monkeypatch):
                self._run(Journaling(directory), history, down_at)
        except HostDown:
            return False
        finally:
            directory.close()
        return True

    def _run(self, ledger, history, down_at):
        history = history or History({}, {})
        planned = [i for i in _ids() if (i not in {r for _, r in history.records})]
        history.planned = tuple(planned)
        aftermath = settle(history, self.retries, None)
        for record in aftermath.blamed:
            ledger.record(record)
        place = MortalHost(self.host, down_at=down_at)
        runner = Runner(place, self.hazardous, ledger.record, Silent(), ledger=ledger)
        runner.run(_is_wanted, past=past_of(history, aftermath))
        ledger.finish(Ending.COMPLETE, [], [])

    def until_complete(self):
        """Resume until the host survives; return the number of crashes."""
        for times in range(40):
            if self.attempt():
                return times
        raise AssertionError("the run never ends")

    @property
    def results(self):
        entries = read_entries(self.path / JOURNAL)
        return [e["record"] for e in entries if e["type"] == "result"]

    @property
    def verdicts(self):
        return Counter(Verdict(record["verdict"]) for record in self.results)


def _is_wanted(scenario_id):
    return scenario_id.startswith("restore.") and scenario_id.endswith(VARIANT)


@cache
def _ids():
    return [s.id for s in catalog.scenarios(AMX_HOST) if _is_wanted(s.id)]


@pytest.fixture
def lab(tmp_path, monkeypatch):
    def make(*behaviours, **options):
        host = with_behaviours(AMX_HOST, *behaviours)
        return Lab(tmp_path / "run", host, monkeypatch, **options)

    return make


@pytest.mark.parametrize("down_at", [0, 11, ORDERS - 1])
def test_every_scenario_has_one_record_wherever_the_host_crashes(lab, down_at):
    attempts = lab()
    assert not attempts.attempt(down_at)
    attempts.until_complete()
    assert sorted(r["id"] for r in attempts.results) == sorted(_ids())


def test_a_scenario_is_not_blamed_for_one_crash_with_others(lab):
    attempts = lab()
    attempts.attempt(3)
    attempts.until_complete()
    assert attempts.verdicts == {Verdict.PASS: ORDERS}


def test_a_suspect_runs_again_alone(lab):
    attempts = lab()
    attempts.attempt(3)
    attempts.attempt()
    intents = [
        e["scenarios"] for e in read_entries(attempts.path / JOURNAL) if e["type"] == "intent"
    ]
    assert {len(batch) for batch in intents[1:]} == {1}


def test_a_scenario_that_crashes_alone_too_often_is_not_run_again(lab):
    # The first scenario of each attempt crashes the host: with 1 retry, it crashes twice alone.
    attempts = lab()
    while len(attempts.results if attempts.path.exists() else ()) == 0:
        assert not attempts.attempt(0)
    attempts.until_complete()
    assert attempts.verdicts == {Verdict.PASS: ORDERS - 1, Verdict.CRASHED: 1}


def test_a_blamed_scenario_has_the_number_of_crashes(lab):
    attempts = lab()
    for _ in range(4):
        attempts.attempt(0)
    crashed = [r for r in attempts.results if r["verdict"] == "CRASHED"]
    assert [r["reason"] for r in crashed] == [
        "the host crashed 3 times during this scenario; it is not run again"
    ]


def test_a_scenario_with_an_expected_crash_is_blamed_at_once(lab):
    attempts = lab(B1, hazardous=Hazardous.EVERY, retries=5)
    assert attempts.until_complete() == OF_B1
    assert attempts.verdicts == {Verdict.PASS: ORDERS - OF_B1, Verdict.CRASHED: OF_B1}


def test_only_the_first_of_each_kind_crashes_the_host(lab):
    attempts = lab(B1, O1, hazardous=Hazardous.FIRST_OF_A_KIND)
    assert attempts.until_complete() == 2
    assert attempts.verdicts == {
        Verdict.PASS: ORDERS - OF_B1 - OF_O1,
        Verdict.CRASHED: 2,
        Verdict.DIVERGED: OF_B1 + OF_O1 - 2,
    }


def test_an_expected_crash_has_the_steps_before_it(lab):
    attempts = lab(O1, hazardous=Hazardous.FIRST_OF_A_KIND)
    attempts.until_complete()
    (crashed,) = (r for r in attempts.results if r["verdict"] == "CRASHED")
    at_next_step = crashed["crash"]["step"] == len(crashed["steps"])
    assert at_next_step
    during = {"op": "run-until-halt", "vcpu": "vcpu0", "by": ""}
    assert (crashed["crash"]["during"], crashed["known"]) == (during, ["O1"])


def test_orders_are_compared_across_attempts(lab):
    # O1's order-independence findings need the records of both orders.
    attempts = lab(O1)
    attempts.attempt(20)
    attempts.until_complete()
    whole = Lab(attempts.path.with_name("whole"), attempts.host, attempts._monkeypatch)
    whole.attempt()
    pairs = [
        {
            frozenset((r["id"], f["other"]))
            for r in one.results
            for f in r["findings"]
            if f["checker"] == "order-independence"
        }
        for one in (attempts, whole)
    ]
    assert pairs[0] == pairs[1] != set()
