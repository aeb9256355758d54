"""What a run prints."""

import io
from dataclasses import replace

from rich.console import Console

from kvmprobe.reports.console import details, print_lines, show
from kvmprobe.results.claim import Claim
from kvmprobe.results.difference import ImageDiffers, ResultDiffers, RunOfBytes, ValuesDiffer
from kvmprobe.results.record import (
    Crash,
    Finding,
    ReadingsDiffer,
    ScenarioRecord,
    Statement,
    StepRecord,
    Target,
)
from kvmprobe.results.verdict import Verdict
from kvmprobe.scenarios.ops.msrs import SetXfd
from kvmprobe.scenarios.ops.run import RunUntilHalt
from kvmprobe.scenarios.ops.xcrs import GetXcrs
from kvmprobe.scenarios.ops.xsave import SetXsave
from tests.support.runs import O1_DIVERGENCE

TARGET = Target("lab", "7.3.4", "linux-image 7.3.4-1")
TILES = RunOfBytes("XTILE_DATA", 2816, 8192, bytes(16), bytes(range(16)))
DIVERGENCE = replace(
    O1_DIVERGENCE, step=0, difference=ImageDiffers(11008, 0x20000, 0x60000, (TILES,))
)
DETAIL = (
    "XTILE_DATA, bytes 2816-11007: expected 00000000 00000000 00000000 00000000 ..., "
    "observed 00010203 04050607 08090a0b 0c0d0e0f ..."
)


def printed(*records: ScenarioRecord) -> str:
    stream = io.StringIO()
    show(Console(file=stream, highlight=False, markup=False), records, 1.5)
    return stream.getvalue()


def record(verdict: Verdict, **fields) -> ScenarioRecord:
    return ScenarioRecord("a.b", "a", "b", TARGET, verdict, **fields)


def in_full(failed: ScenarioRecord) -> str:
    return "\n".join(map(str, details(failed)))


def test_success_is_a_summary_and_nothing_else():
    assert printed(record(Verdict.PASS)).splitlines() == [
        "emulated host, 7.3.4 (linux-image 7.3.4-1): 1 PASS",
        "1 scenario in 1.5 s",
    ]


def test_divergence_shows_expected_observed_bytes_and_rule():
    shown = in_full(record(Verdict.DIVERGED, divergences=(DIVERGENCE,)))
    expected, observed = "0x20000 (XTILE_CFG)", "0x60000 (XTILE_CFG|XTILE_DATA)"
    for part in (expected, observed, DETAIL, "INV-25"):
        assert part in shown, part


def test_divergence_shows_the_kernel_lines_of_its_step():
    steps = (StepRecord((), ("WARNING: fpu",)),)
    shown = details(record(Verdict.DIVERGED, divergences=(DIVERGENCE,), steps=steps))
    assert "      kernel:   WARNING: fpu" in map(str, shown)


def test_known_defect_is_named_with_its_state():
    shown = in_full(record(Verdict.DIVERGED, known=("O1",)))
    assert "  known, O1, open: KVM_SET_MSRS(IA32_XFD)" in shown


def test_unknown_divergence_is_called_unknown():
    shown = in_full(record(Verdict.DIVERGED, divergences=(DIVERGENCE,)))
    assert "not known" in shown


def test_open_defect_comes_with_the_advice_to_report_it_privately():
    assert "privately; `kvmprobe bugreport`" in printed(record(Verdict.DIVERGED, known=("O1",)))


def test_crash_shows_function_step_and_frames():
    crash = Crash(
        11, RunUntilHalt(), "unexpected #NM", "restore_fpregs_from_fpstate", ("fpu_swap",), "x"
    )
    shown = in_full(record(Verdict.CRASHED, crash=crash))
    for part in ("step 11: KVM_RUN", "restore_fpregs_from_fpstate", "fpu_swap"):
        assert part in shown, part


def test_skips_are_counted_by_reason():
    shown = printed(record(Verdict.SKIPPED, reason="no_amx_cpu: no AMX"))
    assert "SKIPPED  1 on emulated host, 7.3.4: no_amx_cpu: no AMX" in shown


def test_text_of_a_target_is_no_markup():
    shown = printed(record(Verdict.BROKEN, reason="[bold]not markup[/bold]"))
    assert "[bold]not markup[/bold]" in shown


def test_scenarios_that_diverge_alike_are_shown_once_and_listed():
    others = [
        ScenarioRecord(f"a.{n}", "a", str(n), TARGET, Verdict.DIVERGED, divergences=(DIVERGENCE,))
        for n in range(3)
    ]
    shown = printed(*others)
    assert shown.count(DETAIL) == 1
    assert "the same divergence in 2 more:\n    DIVERGED  a.1\n    DIVERGED  a.2\n" in shown


def test_a_long_list_of_alike_ones_is_cut_and_says_so():
    many = [
        ScenarioRecord(f"a.{n}", "a", str(n), TARGET, Verdict.DIVERGED, divergences=(DIVERGENCE,))
        for n in range(20)
    ]
    assert "and 7 others" in printed(*many)


def test_of_alike_ones_the_crash_is_shown_in_full():
    crash = Crash(11, RunUntilHalt(), "unexpected #NM", "restore_fpregs_from_fpstate", (), "x")
    first = record(Verdict.DIVERGED, divergences=(DIVERGENCE,))
    died = ScenarioRecord(
        "a.c", "a", "c", TARGET, Verdict.CRASHED, divergences=(DIVERGENCE,), crash=crash
    )
    assert "CRASHED  a.c" in printed(first, died)


def test_different_divergences_are_each_shown():
    other = replace(DIVERGENCE, difference=ResultDiffers(0, -22))
    shown = printed(
        record(Verdict.DIVERGED, divergences=(DIVERGENCE,)),
        ScenarioRecord("a.c", "a", "c", TARGET, Verdict.DIVERGED, divergences=(other,)),
    )
    assert shown.count("observed:") == 2


def finding(*known, other=""):
    statement = Statement(Claim.ORDER_MATTERS, {}, (SetXfd(0), SetXsave(3)))
    detail = ReadingsDiffer(GetXcrs(), ValuesDiffer({"XCR0": 1}, {"XCR0": 7}))
    return Finding("order-independence", "INV-37", 3, statement, (detail,), other, known)


def test_findings_are_counted_by_checker_and_by_what_explains_them():
    records = [
        record(Verdict.DIVERGED, known=("O3",), findings=(finding("O3", other="a.c"),)),
        record(Verdict.DIVERGED, known=("O3",), findings=(finding("O3", other="a.d"),)),
        record(Verdict.DIVERGED, known=("O1",), findings=(finding("O1", other="a.e"),)),
    ]
    shown = printed(*records)
    assert "found without the model on emulated host, 7.3.4" in shown
    assert "  order-independence: 2 pairs, O3; 1 pair, O1\n" in shown


def test_a_finding_that_nothing_explains_is_shown_in_full():
    shown = in_full(record(Verdict.DIVERGED, findings=(finding(other="a.c"),)))
    what = "KVM_SET_MSRS IA32_XFD=0 and KVM_SET_XSAVE XSTATE_BV=0x3 (FP|SSE): both orders"
    detail = "KVM_GET_XCRS: XCR0 is 0x1 here, 0x7 there"
    head = f"step 3: order-independence (INV-37): {what}"
    for part in (head, "there: a.c", detail, "not known"):
        assert part in shown, part


def test_a_finding_that_is_explained_is_not():
    shown = in_full(record(Verdict.DIVERGED, known=("O1",), findings=(finding("O1"),)))
    assert "order-independence" not in shown


def test_the_summary_counts_labels():
    shown = printed(record(Verdict.DIVERGED, known=("B1",)), record(Verdict.DIVERGED))
    # known-bugs B1: 6.19, 6.1.162, 6.12.67; no 7.3.y among them
    fixed = "fixed in 6.1.162, 6.12.67, 6.18.9, 6.19"
    assert f"  1 DIVERGED: known, CVE-2026-23005 (B1), {fixed}\n" in shown
    assert "  1 DIVERGED: not known\n" in shown


def test_expected_failures_are_counted_and_not_shown():
    shown = printed(record(Verdict.PASS), record(Verdict.XFAIL, known=("O1",)))
    assert shown.splitlines() == [
        "emulated host, 7.3.4 (linux-image 7.3.4-1): 1 PASS, 1 XFAIL",
        "  1 XFAIL: known, O1, open",
        "2 scenarios in 1.5 s",
    ]


def test_an_unexpected_pass_is_shown_with_its_reason():
    shown = printed(record(Verdict.XPASS, reason="O1 should have shown here"))
    assert "XPASS  a.b" in shown
    assert "  O1 should have shown here" in shown


def test_families_are_counted_where_something_failed():
    shown = printed(record(Verdict.PASS), record(Verdict.DIVERGED))
    assert "  a  1 PASS, 1 DIVERGED\n" in shown


def test_only_the_restore_matrix_is_a_table():
    restored = ScenarioRecord("restore.a.b", "a", "b", TARGET, Verdict.DIVERGED)
    shown = printed(record(Verdict.DIVERGED), restored)
    assert ("restore orders on" in shown, "a orders on" in shown) == (True, False)


def test_only_a_verdict_is_coloured_and_no_line_that_looks_like_one():
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, color_system="standard", highlight=False)
    print_lines(console, ["PASS  what a kernel printed", *details(record(Verdict.DIVERGED))])
    plain, _, coloured, *_ = stream.getvalue().splitlines()
    assert plain == "PASS  what a kernel printed"
    assert coloured.startswith("\x1b[31mDIVERGED\x1b[0m  a.b")


def test_text_of_a_target_moves_no_cursor():
    steps = (StepRecord((), ("WARNING: \x1b[2J",)),)
    crash = Crash(1, RunUntilHalt(), "Oops", "f", (), "Oops: \x1b[2J")
    fields = {"divergences": (DIVERGENCE,), "steps": steps, "crash": crash, "reason": "\x1b[2J"}
    assert "\x1b" not in in_full(record(Verdict.CRASHED, **fields))
