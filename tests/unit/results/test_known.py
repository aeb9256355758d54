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
    # known-bugs B1: 6.19, 6.1.162, 6.12.67, and of 6.18.y after 6.18.5
    where = "fixed in 6.1.162, 6.12.67, 6.18.9, 6.19"
    assert by_id("B1").label() == f"CVE-2026-23005 (B1), {where}"


@pytest.mark.parametrize(
    ("kernel", "fixed"),
    [("6.12.43", "6.12.67"), ("6.1.100", "6.1.162"), ("6.17.8", "6.1.162, 6.12.67, 6.18.9, 6.19")],
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
    assert "privately; `kvmprobe bugreport`" in by_id("O1").reference


def test_the_reference_of_a_fixed_defect_is_its_commit():
    # known-bugs B4
    subject = "KVM: x86: Filter out XTILE_CFG if XTILE_DATA isn't permitted"
    assert by_id("B4").reference == f'Linux commit 55cd57b596e8 ("{subject}")'


# known-bugs B1: 6.1.162, 6.12.67, 6.18.9, 6.19; B4: 6.4, not in 6.1.y
@pytest.mark.parametrize(
    ("defect", "kernel", "fixed"),
    [
        ("B1", "6.12.43", False),
        ("B1", "6.12.67", True),
        ("B1", "6.12.95+deb13-cloud-amd64", True),
        ("B1", "6.18.5", False),
        ("B1", "7.3.4", True),
        ("B4", "6.1.192", False),
        ("B4", "6.12.43", True),
        ("O1", "7.3.4", False),
    ],
)
def test_a_release_has_a_fix_from_its_own_series_or_mainlines_on(defect, kernel, fixed):
    assert by_id(defect).is_fixed_in(kernel) is fixed


def test_a_stable_series_that_lacks_a_fix_is_named():
    assert by_id("B4").unfixed_series == ("6.1.y",)
    assert by_id("B4").fixed_in == ("6.4",)
