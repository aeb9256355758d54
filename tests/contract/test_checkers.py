"""The checkers find defects without a rule about them, and nothing on a legal variant."""

from __future__ import annotations

from functools import cache

import pytest

from kvmprobe.checkers.session import Checkers
from kvmprobe.model.behaviours import DEFECTS, Behaviour
from kvmprobe.scenarios.model_run import DefectiveRun, ModelRun
from tests.support.fake_kernel import trace_along
from tests.support.hosts import AMX_HOST, with_behaviours
from tests.support.sweep import fitting

VARIANTS = sorted((b for b in Behaviour if b not in DEFECTS), key=lambda b: b.name)
CORRECT = ModelRun(AMX_HOST)
FAMILIES = frozenset({"pair", "cpuid", "permission", "system", "msrs", "sregs"})
# The checkers themselves ask for it.
VENDORS = Behaviour.VENDOR_REWRITES_CPUID


def findings(*behaviours, families):
    """What the checkers find on an AMX host's kernel with these behaviours, by scenario.

    In what such a kernel answers as one without them, they find nothing: see test_correct_kernel.
    """
    checkers = Checkers(with_behaviours(AMX_HOST, *behaviours))
    model_run = DefectiveRun(CORRECT, frozenset(behaviours))
    found = []
    for scenario, steps, trace in correct(families):
        walked = zip(steps, model_run.walk(scenario), strict=False)
        alike = all(one is other for one, other in walked)
        seen = trace if alike else trace_along(scenario, model_run)
        if not alike or VENDORS in behaviours:
            found += [(scenario.id, finding) for finding in checkers.within(scenario, seen)]
        found += [(scenario.id, finding) for finding in checkers.across(scenario, seen, ())]
    return found


@cache
def correct(families):
    """The scenarios of these families, their steps on a correct kernel and what it answers."""
    return [
        (scenario, CORRECT.walked(scenario), trace_along(scenario, CORRECT))
        for scenario in fitting(AMX_HOST)
        if scenario.family in families
    ]


def kinds(found):
    return {(finding.checker, finding.invariant) for _, finding in found}


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda b: b.name)
def test_a_legal_variant_gives_no_finding(variant):
    assert findings(variant, families=FAMILIES)[:3] == []


def test_o3_is_found_by_holding_two_orders_against_each_other():
    # known-bugs O3: SET_XSAVE, then the first SET_CPUID2 with XTILE_DATA: XSTATE_BV=0
    found = findings(Behaviour.CPUID_ENABLE_DISCARDS_FPSTATE, families=frozenset({"pair"}))
    pairs = {(name, f.other) for name, f in found if f.checker == "order-independence"}
    assert pairs == {("pair.legacy.cpuid", "pair.cpuid.legacy")}


def test_o1_is_found_by_holding_two_orders_against_each_other():
    # known-bugs O1: SET_XSAVE(XSTATE_BV[18]=1), then SET_MSRS(XFD=1<<18): bit 18 stays
    found = findings(Behaviour.XFD_WRITE_KEEPS_XSTATE_BV, families=frozenset({"pair"}))
    pairs = {(name, f.other) for name, f in found if f.checker == "order-independence"}
    assert pairs == {("pair.tiles.xfd", "pair.xfd.tiles")}


@pytest.mark.parametrize(
    "defect", [Behaviour.XFD_WRITE_KEEPS_XSTATE_BV, Behaviour.SET_XSAVE_KEEPS_XFD_ARMED]
)
def test_a_state_that_faults_at_the_next_load_is_found(defect):
    found = findings(defect, families=frozenset({"pair"}))
    assert ("xstate-and-xfd", "INV-29") in kinds(found)


def test_o2_is_found_by_two_views_of_one_state():
    # known-bugs O2: KVM_GET_FPU gives what KVM_GET_XSAVE2 does not; what a KVM_SET_FPU leaves in
    # memory depends on where the load and save of a KVM_RUN stood before it
    found = findings(Behaviour.FPU_IOCTLS_IGNORE_XSTATE_BV, families=frozenset({"fpu"}))
    assert kinds(found) == {("two-views", "§7.4"), ("order-independence", "INV-37")}


def test_b4_is_found_by_setting_what_is_advertised():
    # known-bugs B4: "KVM_SET_XCRS with the advertised 0x202e7 must then fail"
    found = findings(Behaviour.XTILE_CFG_ADVERTISED_ALONE, families=frozenset({"pair"}))
    refused = {name for name, f in found if (f.checker, f.invariant) == ("closure", "INV-23")}
    assert refused == {"pair.advertised.tile-cfg"}
