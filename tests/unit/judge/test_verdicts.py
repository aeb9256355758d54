from __future__ import annotations

from dataclasses import replace

import pytest

from kvmprobe.judge.verdicts import as_expected_failure, judged, skipped, with_findings
from kvmprobe.model.behaviours import Behaviour
from kvmprobe.results.claim import Claim
from kvmprobe.results.difference import KernelTainted
from kvmprobe.results.record import Crash, Finding, Statement, Target
from kvmprobe.results.trace import End, Trace
from kvmprobe.results.verdict import Verdict
from kvmprobe.scenarios import catalog
from kvmprobe.scenarios.ops.run import RunUntilHalt
from tests.support.fake_kernel import trace_of
from tests.support.hosts import AMX_HOST, with_behaviours

B1 = Behaviour.SET_XSAVE_KEEPS_XFD_ARMED
VARIANT = "perm-granted.xfd-armed.bv-tiles"
SCENARIO = next(
    s for s in catalog.scenarios(AMX_HOST) if s.id == f"restore.cpuid-msrs-xcrs-xsave.{VARIANT}"
)
TARGET = Target("lab", "6.12.43", "emulated")
CORRECT = trace_of(SCENARIO, AMX_HOST)
DEFECTIVE = trace_of(SCENARIO, AMX_HOST, B1)
SEEN = replace(DEFECTIVE, end=End.GATED)
CRASH = Crash(0, "", "unexpected #NM exception", "exc_device_not_available", (), "report")


def verdict(trace, crash=None):
    return judged(SCENARIO, AMX_HOST, trace, TARGET, crash).verdict


@pytest.mark.parametrize("end", [End.DONE, End.GATED])
def test_an_expected_trace_passes(end):
    assert verdict(replace(CORRECT, end=end)) is Verdict.PASS


@pytest.mark.parametrize("end", [End.DONE, End.GATED])
def test_an_unexpected_trace_diverges(end):
    assert verdict(replace(DEFECTIVE, end=end)) is Verdict.DIVERGED


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        (End.SIGNAL, Verdict.CRASHED),
        (End.TIMEOUT, Verdict.TIMED_OUT),
        (End.BROKEN, Verdict.BROKEN),
        (End.LOST, Verdict.BROKEN),
    ],
    ids=lambda value: value.name,
)
def test_an_abnormal_end_decides_the_verdict(end, expected):
    assert verdict(replace(CORRECT, end=end)) is expected


def test_a_lost_link_with_a_crash_report_is_a_crash():
    assert verdict(replace(DEFECTIVE, end=End.LOST), CRASH) is Verdict.CRASHED


def test_the_crash_is_in_the_step_after_the_last_reported_one():
    record = judged(SCENARIO, AMX_HOST, DEFECTIVE, TARGET, CRASH)
    assert (record.crash.step, record.crash.during) == (len(DEFECTIVE.steps), RunUntilHalt())


def test_a_crash_after_the_last_step_has_no_call():
    # The host may die while the VM is taken down.
    record = judged(SCENARIO, AMX_HOST, CORRECT, TARGET, CRASH)
    assert record.crash.step == len(SCENARIO.steps) - 1


def test_a_crash_that_a_defect_predicts_is_known():
    assert judged(SCENARIO, AMX_HOST, DEFECTIVE, TARGET, CRASH).known == ("B1",)


def test_a_crash_without_a_divergence_is_not_known():
    assert judged(SCENARIO, AMX_HOST, CORRECT, TARGET, CRASH).known == ()


def test_a_pass_has_no_explanation():
    assert judged(SCENARIO, AMX_HOST, CORRECT, TARGET).known == ()


def test_new_taint_is_a_divergence():
    # INV-43; bit 9 is W, a warning: Documentation/admin-guide/tainted-kernels.rst
    record = judged(SCENARIO, AMX_HOST, replace(CORRECT, taint=1 << 9), TARGET)
    assert [(d.call, d.difference) for d in record.divergences] == [(None, KernelTainted(1 << 9))]


def test_a_scenario_that_ran_no_step_has_a_record_without_steps():
    record = judged(SCENARIO, AMX_HOST, Trace(end=End.LOST, end_note="gone"), TARGET)
    assert (record.steps, record.reason) == ((), "gone")


def test_a_scenario_without_steps_passes():
    record = judged(SCENARIO.upto(0), AMX_HOST, Trace(), TARGET)
    assert (record.verdict, record.steps) == (Verdict.PASS, ())


def test_a_skipped_scenario_has_its_code_and_reason():
    record = skipped(SCENARIO, TARGET, "no_amx_cpu", "the CPU has no AMX")
    assert (record.verdict, record.reason) == (
        Verdict.SKIPPED,
        "no_amx_cpu: the CPU has no AMX",
    )


FINDING = Finding("two-views", "INV-8", 1, Statement(Claim.XSAVE2_SIZE, {"size": 1, "cpuid": 2}))


def test_a_pass_with_an_unexplained_finding_diverges():
    record = with_findings(judged(SCENARIO, AMX_HOST, CORRECT, TARGET), (FINDING,))
    assert (record.verdict, record.findings) == (Verdict.DIVERGED, (FINDING,))


def test_a_defect_that_explains_the_scenario_explains_its_findings():
    record = with_findings(judged(SCENARIO, AMX_HOST, SEEN, TARGET), (FINDING,))
    assert [f.known for f in record.findings] == [("B1",)]


def test_a_finding_explained_by_the_other_scenarios_defect_leaves_a_pass():
    passed = judged(SCENARIO, AMX_HOST, CORRECT, TARGET)
    record = with_findings(passed, (replace(FINDING, other="x", known=("O3",)),))
    assert record.verdict is Verdict.PASS


def test_a_failure_that_a_known_defect_explains_is_xfail():
    record = judged(SCENARIO, AMX_HOST, SEEN, TARGET)
    assert as_expected_failure(record).verdict is Verdict.XFAIL


def test_a_crash_that_a_known_defect_explains_is_xfail():
    record = judged(SCENARIO, AMX_HOST, DEFECTIVE, TARGET, CRASH)
    assert as_expected_failure(record).verdict is Verdict.XFAIL


@pytest.mark.parametrize(
    ("trace", "expected"),
    [
        (CORRECT, Verdict.PASS),
        (replace(CORRECT, taint=1 << 9), Verdict.DIVERGED),
        (replace(DEFECTIVE, end=End.TIMEOUT), Verdict.TIMED_OUT),
    ],
    ids=["pass", "unexplained", "timed out"],
)
def test_other_verdicts_are_not_xfail(trace, expected):
    record = judged(SCENARIO, AMX_HOST, trace, TARGET)
    assert as_expected_failure(record).verdict is expected


def test_an_explained_divergence_with_an_unexplained_finding_is_not_xfail():
    record = replace(judged(SCENARIO, AMX_HOST, SEEN, TARGET), findings=(FINDING,))
    assert as_expected_failure(record).verdict is Verdict.DIVERGED


def test_a_pass_in_which_a_defect_should_have_shown_is_xpass():
    record = judged(SCENARIO, with_behaviours(AMX_HOST, B1), CORRECT, TARGET)
    assert (record.verdict, record.expected_defects) == (Verdict.PASS, ("B1",))
    assert as_expected_failure(record).verdict is Verdict.XPASS


def test_a_pass_in_which_the_defect_cannot_show_is_not_xpass():
    # O1 needs XSAVE before XFD; here it comes after.
    host = with_behaviours(AMX_HOST, Behaviour.XFD_WRITE_KEEPS_XSTATE_BV)
    assert judged(SCENARIO, host, CORRECT, TARGET).expected_defects == ()


def test_the_label_shows_the_known_defect():
    # known-bugs B1: fixed in 6.12.67
    record = judged(SCENARIO, AMX_HOST, SEEN, TARGET)
    assert record.label == "DIVERGED: known, CVE-2026-23005 (B1), fixed in 6.12.67"
