from kvmprobe.model.behaviours import Behaviour
from kvmprobe.results.known import by_id, known_defects


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
    assert by_id("B1").label == "B1, fixed in 6.1.162, 6.12.67, 6.19"


def test_the_label_of_an_open_defect_says_so():
    assert by_id("O1").label == "O1, open"


def test_an_unreported_defect_asks_for_a_private_report():
    # known-bugs O1: "report privately (security@kernel.org ...) before publishing a reproducer"
    assert "security@kernel.org" in by_id("O1").reference
