"""The catalogue on this machine's KVM."""

from __future__ import annotations

import pytest

from kvmprobe.execution.place import ThisHost
from kvmprobe.execution.preflight import classes, unmet
from kvmprobe.execution.runner import Hazardous, Runner
from kvmprobe.progress import Silent
from kvmprobe.reports.claims import finding_text
from kvmprobe.results.difference import KernelWarns
from kvmprobe.results.verdict import Verdict
from kvmprobe.scenarios import catalog
from tests.support.places import REASONS_TO_SKIP


@pytest.fixture(scope="module")
def run():
    records = []
    runner = Runner(ThisHost(), Hazardous.STOP, records.append, Silent())
    preflight = runner.run(lambda _: True)
    return runner, preflight, records


def unexplained(record):
    return record.verdict is not Verdict.PASS and not record.known


def test_every_testable_scenario_has_no_divergence(run):
    # On a kernel with a known defect, that defect explains what diverges.
    _, _, records = run
    assert [(r.id, r.verdict, r.divergences[:1]) for r in records if unexplained(r)] == []


def test_every_scenario_is_run_or_accounted_for(run):
    runner, preflight, records = run
    found = sorted(r.id for r in [*records, *runner.not_runnable])
    assert found == sorted(s.id for s in catalog.scenarios(preflight.profile))


def test_scenarios_are_left_out_only_for_what_they_need(run):
    runner, preflight, _ = run
    lacking = unmet(preflight).keys()
    needing = [s.id for s in catalog.scenarios(preflight.profile) if s.needs & lacking]
    assert [r.id for r in runner.not_runnable] == needing


def test_a_skipped_scenario_has_a_reason(run):
    runner, _, _ = run
    reasons = {r.reason.partition(":")[0] for r in runner.not_runnable}
    assert reasons <= REASONS_TO_SKIP


def test_nothing_remains(run):
    runner, _, _ = run
    assert not runner.remaining


def test_the_kernel_logged_no_warning(run):
    _, _, records = run
    differences = [(r.id, d.difference) for r in records for d in r.divergences]
    assert [name for name, difference in differences if isinstance(difference, KernelWarns)] == []


def test_what_the_checkers_find_is_explained_by_known_defects(run):
    """XCR0 as it was set, sizes by two interfaces, and all else that needs no model."""
    _, _, records = run
    found = [(r.id, finding_text(f)) for r in records for f in r.findings if not f.known]
    assert found == []


def test_restore_orders_without_amx_are_testable_everywhere(run):
    _, preflight, _ = run
    assert classes(preflight)[0].testable


def test_real_mode_guests_are_reported_as_tried(run):
    _, preflight, _ = run
    found = next(c for c in classes(preflight) if "real-mode" in c.name)
    assert found.testable == (preflight.facts["kvm"]["guest_code"]["real_mode"] == "runs")
