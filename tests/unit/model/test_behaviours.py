import pytest

from kvmprobe.model.behaviours import Behaviour, Kind, variants


def test_knowing_apx_is_no_defect():
    # contract 14: XFEATURE_MAX differs by version.
    assert Behaviour.KNOWS_APX.kind is Kind.VARIANT


def test_only_variants_may_be_expected():
    assert {b.kind for b in variants(frozenset(Behaviour))} == {Kind.VARIANT}


@pytest.mark.parametrize("behaviour", Behaviour, ids=lambda b: b.name)
def test_each_behaviour_says_how_it_is_detected_and_where_it_comes_from(behaviour):
    assert behaviour.value.detection
    assert behaviour.value.source
