import pytest

from kvmprobe.model.behaviours import Behaviour
from kvmprobe.results.known import by_id, known_defects, label


def test_b1_is_the_image_that_xfd_does_not_stop():
    # known-bugs B1, CVE-2026-23005
    assert by_id("B1").behaviour is Behaviour.SET_XSAVE_KEEPS_XFD_ARMED


def test_o1_is_the_xfd_write_that_leaves_the_image():
    # known-bugs O1
    assert by_id("O1").behaviour is Behaviour.XFD_WRITE_KEEPS_XSTATE_BV


def test_b4_is_half_a_tile_pair_in_cpuid():
    # known-bugs B4
    assert by_id("B4").behaviour is Behaviour.XTILE_CFG_ADVERTISED_ALONE


def test_an_entry_is_found_by_its_behaviour():
    assert known_defects()[Behaviour.XFD_WRITE_KEEPS_XSTATE_BV].id == "O1"


def test_the_label_of_a_fixed_defect_says_where_it_is_fixed():
    # known-bugs B1: 6.19, 6.1.162, 6.12.67
    where = "fixed in 6.1.162, 6.12.67, 6.19"
    assert by_id("B1").label() == f"CVE-2026-23005 (B1), {where}"


@pytest.mark.parametrize(
    ("kernel", "fixed"),
    [("6.12.43", "6.12.67"), ("6.1.100", "6.1.162"), ("6.17.8", "6.1.162, 6.12.67, 6.19")],
)
def test_the_label_names_the_fix_of_the_kernels_own_series(kernel, fixed):
    assert by_id("B1").label(kernel) == f"CVE-2026-23005 (B1), fixed in {fixed}"


def test_several_defects_are_known_together():
    assert label(["O1", "O3"], "7.3.4") == "known, O1, open and O3, open"


def test_nothing_known_is_said_so():
    assert label([], "7.3.4") == "not known"


def test_the_label_of_an_open_defect_says_so():
    assert by_id("O1").label() == "O1, open"


def test_an_unreported_defect_asks_for_a_private_report():
    # known-bugs O1: "report privately (security@kernel.org ...) before publishing a reproducer"
    assert "security@kernel.org" in by_id("O1").reference
