from dataclasses import replace

import pytest

from kvmprobe.reports.diff import diff_lines, diff_markdown, verdict
from kvmprobe.results.comparison import compare
from kvmprobe.results.difference import KernelWarns
from kvmprobe.results.record import Target
from kvmprobe.results.run_document import Ending
from tests.support.runs import (
    B1_DIVERGENCE,
    EVERY,
    HOSTILE,
    INTERRUPTED,
    NEW,
    O1_DIVERGENCE,
    diverged,
    passed,
    run_of_records,
)

# 6.12.43 has B1 and O1; B1 was fixed in 6.12.67 (known-bugs).
BEFORE = run_of_records(
    *(diverged(f"restore.b1.{n}", ("B1",), B1_DIVERGENCE) for n in range(15)),
    *(diverged(f"restore.o1.{n}") for n in range(15)),
    passed("restore.fine"),
)
AFTER = run_of_records(
    *(passed(f"restore.b1.{n}", NEW) for n in range(15)),
    *(diverged(f"restore.o1.{n}", target=NEW) for n in range(15)),
    passed("restore.fine", NEW),
)


def text(before, after):
    return "\n".join(diff_lines(compare(before, after)))


def markdown(before, after):
    return "\n".join(diff_markdown(compare(before, after)))


def test_a_fixed_defect_is_named():
    assert "B1   fixed        15 -> 0   " in text(BEFORE, AFTER)
    assert "| B1 | **fixed** | 15 | 0 | CVE-2026-23005 (B1)" in markdown(BEFORE, AFTER)


def test_an_open_defect_is_unchanged():
    assert "O1   unchanged    15 -> 15  " in text(BEFORE, AFTER)
    assert "| O1 | **unchanged** | 15 | 15 | O1, open" in markdown(BEFORE, AFTER)


def test_the_sentence_counts_and_judges():
    assert verdict(compare(BEFORE, AFTER)) == "no regression: 15 fixed, 15 unchanged"
    assert verdict(compare(AFTER, BEFORE)) == "REGRESSION: 15 new failure, 15 unchanged"
    assert verdict(compare(AFTER, AFTER)) == "no regression: 15 unchanged"
    assert verdict(compare(run_of_records(), run_of_records())) == "no regression: no difference"


def test_what_failed_alike_stands_together_with_its_first_divergence():
    told = text(AFTER, BEFORE)
    group = told[told.index("New failures: 15") :]
    assert group.splitlines()[1] == "  15  known, CVE-2026-23005 (B1), fixed in 6.12.67"
    assert "      observed: XSTATE_BV=0x60000" in group
    assert "and 3 more" in group


def test_a_changed_failure_says_from_what_to_what():
    told = text(
        run_of_records(diverged("restore.a", ("B1",), B1_DIVERGENCE)),
        run_of_records(diverged("restore.a", ("O1",), O1_DIVERGENCE)),
    )
    assert "known, CVE-2026-23005 (B1), fixed in 6.12.67 -> known, O1, open" in told


def test_missing_scenarios_are_listed():
    assert "Missing: did not run again: 15" in text(AFTER, run_of_records(*AFTER.records[15:]))


def test_a_run_that_was_cut_short_is_marked():
    cut = run_of_records(passed("restore.a"), ending=Ending.CUT_SHORT)
    assert "after:  emulated host, 6.12.43" in text(cut, cut)
    assert text(cut, cut).count("[cut short]") == 2


@pytest.mark.parametrize("render", [diff_lines, diff_markdown])
@pytest.mark.parametrize("runs", [(EVERY, run_of_records()), (INTERRUPTED, EVERY)])
def test_every_verdict_can_be_told(render, runs):
    assert "".join(render(compare(*runs)))


def test_markdown_has_no_markup_of_a_target():
    both = "".join(HOSTILE[:1] + HOSTILE[-1:])
    hostile = replace(O1_DIVERGENCE, difference=KernelWarns(both))
    told = markdown(
        run_of_records(passed("restore.a")), run_of_records(diverged("restore.a", (), hostile))
    )
    # What came from the target stands in an indented code block, which knows no markup.
    lines = [line for line in told.splitlines() if "<script>" in line or "example.org" in line]
    assert len(lines) == 1
    assert all(line.startswith("    ") for line in lines)
    assert all(c.isprintable() for c in told.replace("\n", ""))


def test_markdown_folds_the_lists_away():
    told = markdown(BEFORE, AFTER)
    assert told.count("<details>") == told.count("</details>") == 2
    assert told.count("* `DIVERGED -> PASS  restore.b1.") == 15


def test_markdown_takes_a_kernels_name_for_text():
    odd = run_of_records(passed("restore.a", Target("lab", "6.1|<b>`x`", "[y](http://z)")))
    # CommonMark, Backslash escapes: ASCII punctuation behind a backslash is literal
    assert r"6.1\|\<b\>\`x\` (\[y\](http://z))" in markdown(odd, odd)
