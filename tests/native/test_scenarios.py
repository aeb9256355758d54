"""The catalogue on this machine's KVM."""

from __future__ import annotations

import pytest

from kvmprobe.execution.place import ThisHost
from kvmprobe.execution.preflight import classes
from kvmprobe.execution.runner import Hazardous, Runner
from kvmprobe.progress import Silent
from kvmprobe.results.verdict import Verdict
from kvmprobe.scenarios import catalog


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
    found = sorted(r.id for r in [*records, *runner.unsuited])
    assert found == sorted(s.id for s in catalog.scenarios(preflight.profile))


def test_scenarios_that_need_amx_are_left_out_only_without_amx(run):
    runner, preflight, _ = run
    assert len(runner.unsuited) == (0 if preflight.profile.amx else 2256 - 288)


def test_what_is_left_out_says_why(run):
    runner, _, _ = run
    reasons = {r.reason.partition(":")[0] for r in runner.unsuited}
    assert reasons <= {"no_amx_cpu", "no_amx_kvm"}


def test_nothing_remains(run):
    runner, _, _ = run
    assert not runner.remaining


def test_the_kernel_logged_no_warning(run):
    _, _, records = run
    assert [r.id for r in records if any(d.call == "kernel log" for d in r.divergences)] == []


def test_xcr0_is_read_back_as_it_was_set(run):
    """GET_XCRS against the value in SET_XCRS, without the model."""
    _, _, records = run
    wrong = []
    for record in records:
        for step in record.steps:
            call = step.calls[0]
            if call.text.startswith("KVM_SET_XCRS") and call.result == 0:
                value = int(call.text.partition("XCR0=")[2].split()[0], 16)
                read = next(c.fields["XCR0"] for c in step.calls if c.text == "KVM_GET_XCRS")
                if read != value:
                    wrong.append((record.id, value, read))
    assert wrong == []


def test_the_size_in_cpuid_is_the_size_of_the_capability(run):
    """INV-8: two interfaces, without the model."""
    _, _, records = run
    sizes = set()
    for record in records:
        calls = [call for step in record.steps for call in step.calls]
        table = next(c.fields["0xD.0:ECX"] for c in calls if "SUPPORTED_CPUID" in c.text)
        capability = next(c.result for c in calls if "CHECK_EXTENSION" in c.text)
        sizes.add(max(4096, table) == capability)
    assert sizes == {True}


def test_restore_orders_without_amx_are_testable_everywhere(run):
    _, preflight, _ = run
    assert classes(preflight)[0].testable


def test_real_mode_guests_are_reported_as_tried(run):
    _, preflight, _ = run
    found = next(c for c in classes(preflight) if "real-mode" in c.name)
    assert found.testable == (preflight.facts["kvm"]["guest_code"]["real_mode"] == "runs")
