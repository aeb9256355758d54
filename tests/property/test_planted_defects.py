"""Searches that know nothing find defects that nothing in kvmprobe knows, 12 of them.

Random sequences find eleven, most of them with any seed within 5120 sequences of 26 calls; a
systematic search finds ten, among them the twelfth, and neither a second vCPU's nor, with
permission, that of late permission.
"""

from __future__ import annotations

import pytest

from kvmprobe.execution.place import Risk
from kvmprobe.search.starts import STARTS
from tests.support import planted_defects
from tests.support.fake_link import FakePlace, learn_ops
from tests.support.hosts import AMX_HOST
from tests.support.planted_search import first_find, first_find_in_graph

# Of 64 sequences each.
BATCHES = 80
# Raise XCR0, set AVX state, lower XCR0, read the image.
RARE = planted_defects.lowering_xcr0_drops_avx_state
BY_CHANCE = [defect for defect in planted_defects.DEFECTS if defect is not RARE]


@pytest.fixture(autouse=True)
def _all_ops(monkeypatch):
    learn_ops(monkeypatch)


def test_chance_finds_all_but_at_most_one():
    missed = [
        defect.__name__
        for defect in BY_CHANCE
        if not first_find(FakePlace(AMX_HOST, Risk.EXPENDABLE, defect=defect), BATCHES, seed=1)
    ]
    assert len(missed) <= 1, missed


def test_a_systematic_search_finds_what_chance_rarely_does():
    place = FakePlace(AMX_HOST, Risk.EXPENDABLE, defect=RARE)
    ops = {"set-cpuid2", "set-xcrs", "set-xsave"}
    assert first_find_in_graph(place, STARTS["vcpu"], ops, depth=4) is not None
