from kvmprobe.results.verdict import FAILURES, Verdict


def test_each_verdict_has_a_sign_of_its_own():
    assert len({v.sign for v in Verdict}) == len(Verdict)


def test_signs_are_one_character():
    assert {len(v.sign) for v in Verdict} == {1}


def test_a_broken_or_skipped_scenario_is_no_failure_of_the_kernel():
    assert not {Verdict.BROKEN, Verdict.SKIPPED} & FAILURES


def test_an_expected_failure_is_none_and_an_unexpected_pass_is_one():
    # KTAP's XFAIL; an XPASS has to be looked at.
    assert (Verdict.XFAIL in FAILURES, Verdict.XPASS in FAILURES) == (False, True)
