from dataclasses import replace

from kvmprobe.reports.bug_report.kernels import kernel_lines
from tests.support.cases import B1, B1_TOO, O1, O2, OPEN, changed, fail, run_on

BAD = run_on("7.3.4", *OPEN)


def lines(case):
    return [line.strip() for line in kernel_lines(case)]


def test_affected_kernels_are_named_with_whether_they_died():
    held = changed(run_on("6.17.8", *OPEN), O1, crash=None)
    assert lines(fail(O1, BAD, run_on("6.12.95", *OPEN), held)) == [
        "affected, host panics (emulated host): 6.12.95, 7.3.4",
        "affected, not run to the panic (emulated host): 6.17.8",
        "not affected: none of the tested kernels",
    ]


def test_one_kernel_alone_says_nothing_of_others():
    assert lines(fail(O2, BAD)) == ["affected (emulated host): 7.3.4"]


def test_unaffected_kernels_are_named():
    found = lines(fail(O2, BAD, run_on("7.9.0")))
    assert "not affected (emulated host): 7.9.0" in found


def test_an_older_kernel_that_behaves_makes_a_regression_of_it():
    found = lines(fail(O2, BAD, run_on("7.3.1"), run_on("7.3.2", *OPEN)))
    assert found[-1] == "Regression: last good 7.3.1, first bad 7.3.2, as tested."


def test_a_regression_over_two_series_comes_with_a_caveat():
    found = " ".join(lines(fail(O2, BAD, run_on("6.17.8"))))
    assert "Regression: last good 6.17.8, first bad 7.3.4" in found
    assert "different series" in found


def test_a_kernel_that_has_the_fix_is_no_last_good_one():
    # known-bugs B1: 6.1.162 and 6.12.67 have it; 6.1.192 behaves for that reason
    found = " ".join(lines(fail(B1, run_on("6.12.43", *B1_TOO), run_on("6.1.192"))))
    assert "Regression" not in found
    assert "fixed in 6.1.162, 6.12.67, 6.18.9, 6.19 by Linux commit b45f72177594" in found


def test_a_newer_kernel_that_behaves_makes_no_regression_of_it():
    assert not any("Regression" in line for line in lines(fail(O2, BAD, run_on("7.9.0"))))


def test_a_kernel_without_a_number_makes_no_regression_of_it():
    named = replace(BAD.records[0].target, kernel="mainline")
    odd = replace(BAD, records=tuple(replace(r, target=named) for r in BAD.records))
    assert not any("Regression" in line for line in lines(fail(O2, odd, run_on("7.3.1"))))
