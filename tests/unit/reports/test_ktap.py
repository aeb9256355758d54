"""KTAP against Documentation/dev-tools/ktap.rst, and by a TAP reader's eyes.

``tests/lab/test_kunit_reads_ktap.py`` has the kernel's own reader of KTAP.
"""

import re

import pytest
from tap.parser import Parser

from kvmprobe.reports.formats.ktap import FORMAT, ktap
from kvmprobe.results.run_document import Ending, read_run
from tests.support.runs import (
    EVERY,
    EVERY_VERDICT,
    HOST,
    INTERRUPTED,
    cuts,
    passed,
    run_of_records,
    written,
)

RESULT = re.compile(r"( *)(ok|not ok) (\d+) ([^#]+?)(?: # (.*))?")


def results(text, level):
    """Return (result, number, name, directive and diagnostic data) of one level's result lines."""
    found = (RESULT.fullmatch(line) for line in text.splitlines())
    return [m.groups()[1:] for m in found if m and len(m[1]) == 2 * level]


def scenario(name, text=None):
    told = results(ktap([EVERY]) if text is None else text, 2)
    return next((result, why) for result, _, n, why in told if n == name)


# architecture.md 2.6, KTAP mapping
@pytest.mark.parametrize(
    ("name", "result", "why"),
    [
        ("restore.a.x", "ok", None),
        ("restore.b.x", "not ok", "known, O1, open"),
        ("restore.b.y", "not ok", "not known"),
        ("kick.a", "ok", "XFAIL known, O1, open"),
        ("kick.b", "not ok", "O1 should have shown here"),
        ("xsave.a", "not ok", "TIMEOUT the scenario did not end within 30 s"),
        ("guest.a", "ok", "SKIP no_guest_code: tried"),
    ],
)
def test_a_verdict_has_its_result_and_directive(name, result, why):
    assert scenario(name) == (result, why)


def test_a_crash_is_an_error_with_its_headline():
    result, why = scenario("restore.c")
    assert (result, why.split(" ")[0]) == ("not ok", "ERROR")
    assert "the host died: Oops: unexpected #NM exception" in why


def test_text_cannot_bring_a_directive_of_its_own():
    result, why = scenario("xcrs.a")
    assert (result, why) == ("not ok", "ERROR ValueError: #SKIP it")
    told = [*results(ktap([EVERY]), 1), *results(ktap([EVERY]), 2)]
    assert [name for _, _, name, why in told if "# SKIP" in f"# {why}"] == ["guest", "guest.a"]


def test_the_version_and_the_plan_stand_first_on_every_level():
    blocks = re.findall(r"^( *)KTAP version 1\n( *)1\.\.(\d+)$", ktap([EVERY]), re.MULTILINE)
    assert blocks[:2] == [("", "", "1"), ("  ", "  ", "5")]
    assert [int(n) for indent, _, n in blocks if indent == "    "] == [4, 2, 1, 1, 1]


def test_numbers_count_from_one_in_each_family():
    numbers = [int(number) for _, number, _, _ in results(ktap([EVERY]), 2)]
    assert numbers == [1, 2, 3, 4, 1, 2, 1, 1, 1]


def test_a_family_fails_with_any_of_its_scenarios():
    families = {name: (result, why) for result, _, name, why in results(ktap([EVERY]), 1)}
    assert families["restore"] == ("not ok", "3 of 4 scenarios failed")
    assert families["guest"] == ("ok", "SKIP all scenarios were skipped")


def test_a_failure_is_shown_in_diagnostics_before_its_result():
    lines = ktap([EVERY]).splitlines()
    at = next(n for n, line in enumerate(lines) if " restore.b.x " in line)
    shown = "\n".join(lines[:at])
    assert "#       expected: XSTATE_BV=0x20000 (XTILE_CFG)\n" in shown
    assert "#       observed: XSTATE_BV=0x60000 (XTILE_CFG|XTILE_DATA)\n" in shown


def test_what_did_not_complete_is_an_error():
    told = ktap([INTERRUPTED])
    assert scenario("sregs.a", told) == ("not ok", "ERROR did not complete")
    assert results(told, 0) == [("not ok", "1", "kvmprobe", "ERROR the run was cut short")]


def test_a_run_that_was_cut_short_does_not_pass():
    # kunit.py counts the innermost results only.
    cut = ktap([run_of_records(passed("restore.a"), ending=Ending.CUT_SHORT)])
    assert results(cut, 0)[0][0] == "not ok"
    assert ("not ok", "1", "cut-short", "ERROR did not complete") in results(cut, 2)


def test_every_line_is_one_of_the_formats():
    # ktap.rst: version lines, plan lines, result lines, diagnostic lines
    other = [
        line
        for line in ktap([INTERRUPTED]).splitlines()
        if not re.fullmatch(r" *(KTAP version 1|1\.\.\d+|(not )?ok \d+ .*|#.*)", line)
    ]
    assert other == []


def test_no_control_character_of_a_log_is_left():
    assert all(c.isprintable() for line in ktap([EVERY]).split("\n") for c in line)


def test_several_runs_are_several_tests():
    told = ktap([EVERY, run_of_records(passed("restore.a", HOST))])
    assert [(r, n) for r, n, _, _ in results(told, 0)] == [("not ok", "1"), ("ok", "2")]
    assert told.splitlines()[1] == "1..2"


def test_written_live_it_is_the_same_when_the_records_come_in_order():
    told = []
    report = FORMAT.live(told.append, EVERY, EVERY.planned)
    for record in EVERY_VERDICT:
        report.add(record)
    report.finish(Ending.COMPLETE)
    assert "\n".join(told) + "\n" == ktap([EVERY])


def test_a_family_is_written_when_its_last_scenario_is_recorded():
    told = []
    report = FORMAT.live(told.append, EVERY, ["restore.a", "kick.a", "restore.b"])
    report.add(passed("restore.b"))
    report.add(passed("kick.a"))
    assert [name for _, _, name, _ in results("\n".join(told), 1)] == ["kick"]
    report.add(passed("restore.a"))
    assert [n for _, _, n, _ in results("\n".join(told), 1)] == ["kick", "restore"]


def test_nothing_that_was_planned_is_lost_at_the_end():
    told = []
    report = FORMAT.live(told.append, EVERY, ["restore.a", "kick.a"])
    report.finish(Ending.CUT_SHORT)
    assert sorted(n for _, _, n, _ in results("\n".join(told), 2)) == ["kick.a", "restore.a"]


def top_level(text):
    """Return what a TAP reader sees: the top level; it takes nested lines for unknown ones."""
    parsed = list(Parser().parse_text(text))
    plans = [line.expected_tests for line in parsed if line.category == "plan"]
    return plans, [(bool(t.ok), t.description) for t in parsed if t.category == "test"]


def test_a_tap_reader_sees_the_run():
    assert top_level(ktap([EVERY])) == ([1], [(False, "kvmprobe")])
    assert top_level(ktap([run_of_records(passed("a.b"))])) == ([1], [(True, "kvmprobe")])


def test_a_tap_reader_sees_no_pass_in_a_run_that_was_cut(tmp_path):
    path = written(tmp_path / "run.json", EVERY)
    for cut in cuts(path.read_bytes()):
        path.write_bytes(cut)
        assert top_level(ktap([read_run(path)])) == ([1], [(False, "kvmprobe")])
