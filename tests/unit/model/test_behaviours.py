import pytest

from kvmprobe.model.behaviours import DEFECTS, Behaviour, Kind, variants


def test_the_defects_are_b1_o1_and_b4():
    # known-bugs.md
    assert {d.name for d in DEFECTS} == {
        "SET_XSAVE_KEEPS_XFD_ARMED",
        "XFD_WRITE_KEEPS_XSTATE_BV",
        "XTILE_CFG_ADVERTISED_ALONE",
    }


def test_knowing_apx_is_no_defect():
    # contract 14: XFEATURE_MAX differs by version.
    assert Behaviour.KNOWS_APX.kind is Kind.VARIANT


def test_only_variants_may_be_expected():
    assert variants(frozenset(Behaviour)) == {Behaviour.KNOWS_APX}


@pytest.mark.parametrize("behaviour", Behaviour, ids=lambda b: b.name)
def test_each_behaviour_says_how_it_is_detected_and_where_it_comes_from(behaviour):
    assert behaviour.value.detection
    assert behaviour.value.source
