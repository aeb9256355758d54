from dataclasses import replace

import pytest

from kvmprobe.errors import UsageError
from kvmprobe.reports.bug_report.case import Outcome, case_of
from kvmprobe.results.difference import ResultDiffers
from kvmprobe.results.record import Target
from kvmprobe.results.verdict import Verdict
from tests.support.cases import B1, B1_TOO, O1, OPEN, changed, fail, on_silicon, run_on
from tests.support.runs import EVERY, INTERRUPTED

# What a correct kernel's run looks like: 7.9.0 stands for a release with every fix.
GOOD = run_on("7.9.0")
BAD = run_on("7.3.4", *OPEN)


@pytest.mark.parametrize(
    ("scenario", "message"),
    [
        ("restore.a.x", "it passed on emulated host, 6.12.43"),
        ("guest.a", "it was skipped on this host, 6.18.44: no_guest_code: tried"),
        ("xsave.a", "it timed out on emulated host, 6.12.43"),
        ("xcrs.a", "kvmprobe itself failed on emulated host, 6.12.43: ValueError: # SKIP it"),
        ("kick.b", "although a known defect should have shown: O1 should have shown here"),
    ],
)
def test_what_makes_no_claim_is_refused_with_what_it_did(scenario, message):
    with pytest.raises(UsageError, match="nothing to report") as refused:
        case_of(EVERY, (), scenario, None)
    assert message in str(refused.value)


def test_a_scenario_without_record_is_refused():
    with pytest.raises(UsageError, match=r"7.3.4.json has no record of restore.nothing"):
        case_of(BAD, (), "restore.nothing", None)


def test_a_scenario_that_did_not_complete_is_refused():
    with pytest.raises(UsageError, match=r"sregs\.a did not complete"):
        case_of(INTERRUPTED, (), "sregs.a", None)


def test_a_scenario_that_passes_in_another_run_of_the_same_kernel_is_flaky():
    again = replace(run_on("7.3.4"), name="again.json")
    with pytest.raises(UsageError, match=r"flaky .* failed in 7.3.4.json and passed in again"):
        fail(O1, BAD, again)


def test_a_scenario_that_fails_in_another_way_on_the_same_kernel_is_flaky():
    other = replace(BAD.records[0].divergences[0], difference=ResultDiffers(0, -22))
    again = changed(replace(BAD, name="again.json"), O1, divergences=(other,))
    with pytest.raises(UsageError, match=r"failed in another way in again\.json"):
        fail(O1, BAD, again)


def test_the_same_failure_twice_is_not_flaky():
    assert [s.kernel for s in fail(O1, BAD, BAD).seen] == ["7.3.4"]


def test_a_scenario_that_fails_in_two_places_needs_one_named():
    both = replace(BAD, records=(*BAD.records, *on_silicon(BAD).records))
    with pytest.raises(UsageError, match="choose one with --target"):
        fail(O1, both)
    assert case_of(both, (), O1, None, "host").record.target.kind == "host"


def test_an_expected_failure_is_a_failure():
    run = changed(BAD, O1, verdict=Verdict.XFAIL)
    assert fail(O1, run).record.verdict is Verdict.XFAIL


def test_kernels_are_told_apart_by_signature_and_stand_in_order_of_release():
    skipped = changed(run_on("6.1.192"), O1, verdict=Verdict.SKIPPED)
    seen = fail(O1, BAD, GOOD, run_on("6.12.43", *B1_TOO), skipped).seen
    assert [(s.kernel, s.outcome) for s in seen] == [
        ("6.1.192", Outcome.NOT_TESTED),
        ("6.12.43", Outcome.SAME),
        ("7.3.4", Outcome.SAME),
        ("7.9.0", Outcome.BEHAVES),
    ]


def test_another_divergence_on_another_kernel_is_not_the_same_defect():
    other = replace(GOOD, records=BAD.records)
    found = replace(BAD.records[0].divergences[0], difference=ResultDiffers(0, -22))
    records = tuple(replace(r, target=Target("lab", "7.9.0", "")) for r in other.records)
    other = changed(replace(other, records=records), O1, divergences=(found,))
    assert fail(O1, BAD, other).seen[-1].outcome is Outcome.OTHER


def test_a_crash_and_a_state_that_the_next_load_dies_of_are_fatal():
    assert fail(O1, BAD).host_dies
    held = changed(BAD, O1, crash=None, verdict=Verdict.DIVERGED)
    assert fail(O1, held).host_dies


def test_a_failure_that_no_load_dies_of_is_not_fatal():
    assert not fail("fpu.get-replaced.none", BAD).host_dies


def test_the_other_order_is_found_whichever_of_the_two_the_finding_stands_with():
    # B1's order passes where only O1 is open; the pair's finding stands with the later record.
    assert fail(O1, BAD).swapped.id == B1


def test_no_other_order_is_named_if_that_fails_as_well():
    assert fail(O1, run_on("6.12.43", *B1_TOO)).swapped is None
