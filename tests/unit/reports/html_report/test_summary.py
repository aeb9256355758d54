"""Counts, kinds of failure, and what the checkers found."""

from dataclasses import replace

from kvmprobe.reports.html_report.columns import columns_of
from kvmprobe.reports.html_report.summary import (
    checker_findings,
    kinds_of_failure,
    reasons_skipped,
    verdict_counts,
)
from kvmprobe.results.claim import Claim
from kvmprobe.results.difference import ResultDiffers, ValuesDiffer
from kvmprobe.results.record import Crash, Finding, ScenarioRecord, Statement, Target
from kvmprobe.results.run_document import RunDocument
from kvmprobe.results.verdict import Verdict
from kvmprobe.scenarios.ops.run import RunUntilHalt
from tests.support.runs import O1_DIVERGENCE

DIVERGENCE = replace(O1_DIVERGENCE, difference=ValuesDiffer({"XCR0": 1}, {"XCR0": 7}))
CRASH = Crash(2, RunUntilHalt(), "Oops: x", "f", (), "")
FINDING = Finding("two-views", "§7.4", 1, Statement(Claim.FPU_AND_XSAVE))


def record(scenario, verdict=Verdict.DIVERGED, kernel="7.3.4", **fields):
    return ScenarioRecord(scenario, "", "", Target("lab", kernel, ""), verdict, **fields)


def columns(*records):
    return columns_of([RunDocument("", (), records)])


def test_verdicts_are_counted_by_column():
    counts = verdict_counts(columns(record("a.a"), record("a.b"), record("a.a", kernel="6.1")))
    assert [count[Verdict.DIVERGED] for count in counts] == [2, 1]


def test_failures_that_begin_alike_are_one_kind():
    alike = (record("a.a", divergences=(DIVERGENCE,)), record("a.b", divergences=(DIVERGENCE,)))
    (kind,) = kinds_of_failure(columns(*alike))
    assert (kind.counts[0], kind.example) == (2, (0, "a.a"))
    assert kind.text == (
        "KVM_SET_MSRS IA32_XFD=0x40000 (XTILE_DATA): KVM_GET_XSAVE2",
        "expected XCR0=0x1 (FP)",
        "observed XCR0=0x7 (FP|SSE|YMM)",
    )


def test_a_kind_is_counted_in_each_column():
    alike = [record("a.a", kernel=k, divergences=(DIVERGENCE,)) for k in ("6.1", "6.2", "6.2")]
    (kind,) = kinds_of_failure(columns(*alike))
    assert dict(kind.counts) == {0: 1, 1: 2}


def test_a_crash_stands_for_its_kind():
    diverged = record("a.a", divergences=(DIVERGENCE,))
    crashed = record("a.b", Verdict.CRASHED, divergences=(DIVERGENCE,), crash=CRASH)
    (kind,) = kinds_of_failure(columns(diverged, crashed))
    assert (kind.verdict, kind.example) == (Verdict.CRASHED, (0, "a.b"))


def test_what_no_defect_explains_comes_first():
    explained = record("a.a", divergences=(DIVERGENCE,), known=("O1",))
    unexplained = record(
        "a.b", divergences=(replace(DIVERGENCE, difference=ResultDiffers(0, -22)),)
    )
    kinds = kinds_of_failure(columns(explained, unexplained))
    assert [kind.known for kind in kinds] == [(), ("O1",)]


def test_a_kind_has_the_title_of_its_defect():
    (kind,) = kinds_of_failure(columns(record("a.a", known=("O2",))))
    # known-bugs O2
    assert kind.title.startswith("KVM_SET_FPU is lost")


def test_a_failure_without_divergence_is_told_by_what_there_is():
    crashed = record("a.a", Verdict.CRASHED, crash=CRASH)
    found = record("a.b", findings=(FINDING,))
    broken = record("a.c", Verdict.BROKEN, reason="Traceback")
    timed_out = record("a.d", Verdict.TIMED_OUT)
    texts = {kind.text for kind in kinds_of_failure(columns(crashed, found, broken, timed_out))}
    assert texts == {
        ("KVM_RUN", "Oops: x"),
        ("two-views", "KVM_GET_FPU and KVM_GET_XSAVE2 show different x87 and SSE state"),
        ("Traceback",),
        ("TIMED_OUT",),
    }


def test_what_passed_or_was_skipped_is_no_failure():
    assert (
        kinds_of_failure(columns(record("a.a", Verdict.PASS), record("a.b", Verdict.SKIPPED))) == []
    )


def test_skips_are_counted_by_reason():
    skipped = [record(f"a.{n}", Verdict.SKIPPED, reason="no_amx_kvm: so") for n in range(3)]
    assert reasons_skipped(columns(*skipped)) == [("7.3.4", "no_amx_kvm: so", 3)]


def test_findings_are_counted_by_checker_and_by_what_explains_them():
    explained = replace(FINDING, known=("O2",))
    found = checker_findings(
        columns(
            record("a.a", findings=(explained,)),
            record("a.b", findings=(explained, FINDING)),
        )
    )
    assert [(o.known, o.counts[0]) for o in found] == [((), 1), (("O2",), 2)]
