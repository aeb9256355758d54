from dataclasses import replace

import pytest

from kvmprobe.results.comparison import Becomes, Change, compare, signature
from kvmprobe.results.verdict import Verdict
from kvmprobe.scenarios.ops.run import RunUntilHalt
from tests.support.runs import (
    B1_DIVERGENCE,
    CRASH,
    NEW,
    O1_DIVERGENCE,
    diverged,
    passed,
    run_of_records,
)

B1 = ("B1",)
O1 = ("O1",)
ID = "restore.a"


def skipped(scenario):
    return replace(passed(scenario), verdict=Verdict.SKIPPED, reason="no_amx_kvm")


def change(before, after):
    """Return how one scenario's change is called; None where it fails in neither run."""
    found = compare(run_of_records(*before), run_of_records(*after)).scenarios
    return found[0].change if found else None


def regressed(before, after):
    return compare(run_of_records(before), run_of_records(after)).regressed


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ([passed(ID)], [passed(ID, NEW)], None),
        ([passed(ID)], [diverged(ID, target=NEW)], Change.NEW_FAILURE),
        ([diverged(ID)], [passed(ID, NEW)], Change.FIXED),
        ([diverged(ID)], [diverged(ID, target=NEW)], Change.UNCHANGED),
        ([diverged(ID, O1)], [diverged(ID, B1)], Change.CHANGED),
        ([diverged(ID)], [diverged(ID, divergence=B1_DIVERGENCE)], Change.CHANGED),
        ([passed(ID)], [], Change.MISSING),
        ([], [passed(ID)], Change.NEW_SCENARIO),
        ([passed(ID)], [skipped(ID)], Change.MISSING),
        ([skipped(ID)], [diverged(ID)], Change.NEW_SCENARIO),
        ([skipped(ID)], [skipped(ID)], None),
    ],
)
def test_a_scenario_has_one_change(before, after, expected):
    assert change(before, after) is expected


def test_an_expected_failure_still_fails():
    expected = replace(diverged(ID), verdict=Verdict.XFAIL)
    assert change([expected], [diverged(ID)]) is Change.UNCHANGED
    assert change([expected], [passed(ID)]) is Change.FIXED
    assert change([passed(ID)], [expected]) is Change.NEW_FAILURE


def test_whether_the_first_of_a_kind_crashed_is_no_change():
    # README: the first of each kind of hazard goes on to its crash
    crashed = replace(diverged(ID), verdict=Verdict.CRASHED, crash=CRASH)
    assert change([diverged(ID)], [crashed]) is Change.UNCHANGED


def test_a_later_divergence_is_no_change():
    longer = replace(diverged(ID), divergences=(O1_DIVERGENCE, B1_DIVERGENCE))
    assert change([diverged(ID)], [longer]) is Change.UNCHANGED


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (passed(ID), diverged(ID), True),
        (diverged(ID), passed(ID), False),
        (diverged(ID), diverged(ID), False),
        (diverged(ID, O1), diverged(ID, B1), True),
        (diverged(ID, O1), diverged(ID, ()), True),
        (diverged(ID, B1), diverged(ID, ("B1", "O1")), True),
        (diverged(ID, ("B1", "O1")), diverged(ID, O1), False),
        (passed(ID), skipped(ID), False),
        (skipped(ID), diverged(ID), False),
    ],
)
def test_a_regression_is_a_failure_that_was_not_there(before, after, expected):
    assert regressed(before, after) is expected


def test_scenarios_come_in_the_first_runs_order():
    first = run_of_records(passed("restore.b"), passed("restore.a"))
    second = run_of_records(diverged("restore.new"), diverged("restore.a"), diverged("restore.b"))
    found = compare(first, second).scenarios
    assert [s.id for s in found] == ["restore.b", "restore.a", "restore.new"]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ([diverged("a", O1)], [diverged("a", O1)], Becomes.UNCHANGED),
        ([diverged("a", O1)], [passed("a")], Becomes.FIXED),
        ([diverged("a", O1), diverged("b", O1)], [passed("a")], Becomes.NOT_TESTED),
        ([diverged("a", O1), diverged("b", O1)], [diverged("a", O1)], Becomes.UNCHANGED),
        ([passed("a")], [diverged("a", O1)], Becomes.NEW),
        ([skipped("a")], [diverged("a", O1)], Becomes.FIRST_TESTED),
        ([diverged("a", O1), passed("b")], [passed("a"), diverged("b", O1)], Becomes.CHANGED),
    ],
)
def test_a_defect_has_become_something(before, after, expected):
    (defect,) = compare(run_of_records(*before), run_of_records(*after)).defects
    assert (defect.id, defect.becomes) == ("O1", expected)


def test_scenarios_that_showed_a_defect_and_did_not_run_again_are_told():
    before = run_of_records(diverged("a", O1), diverged("b", O1))
    (defect,) = compare(before, run_of_records(diverged("a", O1))).defects
    assert defect.not_again == {"b"}


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (diverged(ID), (O1_DIVERGENCE.signature,)),
        (
            replace(passed(ID), verdict=Verdict.CRASHED, crash=CRASH),
            ("CRASHED", RunUntilHalt(), "restore_fpregs_from_fpstate"),
        ),
        (
            replace(passed(ID), verdict=Verdict.TIMED_OUT, reason="no end"),
            ("TIMED_OUT", "no end"),
        ),
    ],
)
def test_a_signature_is_what_went_wrong_first(record, expected):
    assert signature(record) == expected
