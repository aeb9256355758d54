from dataclasses import replace

import pytest

from kvmprobe.reports.bug_report.disclosure import (
    Audience,
    Standing,
    advice,
    disclosure_of,
    files_at_fault,
)
from kvmprobe.scenarios.scenario import Need
from tests.support.cases import (
    B1,
    B1_TOO,
    B4,
    B4_TOO,
    O1,
    O2,
    O3,
    OPEN,
    changed,
    fail,
    on_silicon,
    run_on,
)

BAD = run_on("7.3.4", *OPEN)
PUBLIC_LISTS = {"kvm@vger.kernel.org", "linux-kernel@vger.kernel.org", "x86@kernel.org"}


def told(case):
    return "\n".join(advice(case, disclosure_of(case)))


def test_an_unreported_panic_goes_to_maintainers_and_the_security_team_alone():
    # Documentation/process/security-bugs.rst: to the maintainers, Cc: the security team
    found = disclosure_of(fail(O1, BAD))
    assert (found.standing, found.audience) == (Standing.UNREPORTED, Audience.PRIVATE)
    assert found.cc == ("security@kernel.org",)
    assert "Sean Christopherson <seanjc@google.com>" in found.to
    assert not PUBLIC_LISTS & {*found.to, *found.cc}


def test_a_panic_that_nothing_explains_is_private_as_well():
    found = disclosure_of(fail(O1, changed(BAD, O1, known=())))
    assert (found.standing, found.audience) == (Standing.UNKNOWN, Audience.PRIVATE)


def test_a_fatal_state_is_private_before_anything_died_of_it():
    held = changed(BAD, O1, crash=None)
    assert disclosure_of(fail(O1, held)).audience is Audience.PRIVATE


def test_a_panic_that_takes_privilege_is_an_ordinary_bug():
    # threat-model.rst: what a privileged user does is not a vulnerability
    case = replace(fail(O1, BAD), needs=frozenset({Need.PRIVILEGE}))
    assert disclosure_of(case).audience is Audience.PUBLIC


@pytest.mark.parametrize("scenario", [O2, O3])
def test_what_kills_no_host_goes_to_the_lists(scenario):
    found = disclosure_of(fail(scenario, BAD))
    assert found.audience is Audience.PUBLIC
    assert "kvm@vger.kernel.org" in found.cc
    assert "security@kernel.org" not in {*found.to, *found.cc}


def test_what_is_fixed_in_a_later_kernel_of_the_series_needs_no_report():
    # known-bugs B1: 6.12.67
    found = disclosure_of(fail(B1, run_on("6.12.43", *B1_TOO)))
    assert (found.standing, found.audience) == (Standing.FIXED, Audience.NOBODY)
    assert (found.to, found.cc) == ((), ())


def test_a_fix_that_a_stable_series_lacks_is_asked_of_the_stable_team():
    # known-bugs B4: 6.4, never backported to 6.1.y
    found = disclosure_of(fail(B4, run_on("6.1.192", *B4_TOO)))
    assert (found.standing, found.audience) == (Standing.NOT_BACKPORTED, Audience.STABLE)
    assert found.to == ("stable@vger.kernel.org",)


def test_a_fixed_panic_that_is_back_is_private():
    # known-bugs B1: fixed in 6.12.67, so 6.12.95 should not have it
    found = disclosure_of(fail(B1, run_on("6.12.95", *B1_TOO)))
    assert (found.standing, found.audience) == (Standing.RETURNED, Audience.PRIVATE)


def test_first_it_says_whether_it_looks_unreported():
    assert told(fail(O1, BAD)).startswith("This crash looks unreported: it is O1")
    assert told(fail(O1, changed(BAD, O1, known=()))).startswith("This crash looks unreported")
    assert told(fail(O2, BAD)).startswith("This failure looks unreported: it is O2")
    assert told(fail(B1, run_on("6.12.43", *B1_TOO))).startswith("This crash is not new: B1")


def test_a_panic_that_nothing_explains_names_the_known_ones_in_the_same_function():
    # known-bugs B1 and O1: #NM in restore_fpregs_from_fpstate
    text = told(fail(O1, changed(BAD, O1, known=())))
    assert "Compare B1 and O1: the same panic in restore_fpregs_from_fpstate" in text


def test_a_private_report_names_what_is_not_to_be_published():
    text = told(fail(O1, BAD))
    assert "PRIVATELY" in text
    assert "Documentation/process/security-bugs.rst" in text
    assert "Publish neither reproducer nor output" in text


def test_what_an_emulator_showed_is_to_be_seen_on_silicon_first():
    assert "on silicon first" in told(fail(O1, BAD))
    assert "on silicon first" not in told(fail(O1, on_silicon(BAD)))


def test_several_defects_at_once_are_better_reported_each_alone():
    both = changed(BAD, O3, known=("O3", "O2"))
    assert "several defects (O3, O2)" in told(fail(O3, both))


def test_files_at_fault_are_the_broken_rules_where_no_defect_is_known():
    # The rule of that divergence: core.c: fpu_update_guest_xfd, both in the kernel's fpu folder.
    unknown = fail(O1, changed(BAD, O1, known=()))
    assert files_at_fault(unknown)[0] == "arch/x86/kernel/fpu/core.c"
