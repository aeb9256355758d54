"""On a correct kernel the checkers find nothing; defects they find without a rule about them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kvmprobe.checkers.session import Checkers
from kvmprobe.model.behaviours import DEFECTS, Behaviour
from kvmprobe.scenarios import catalog
from kvmprobe.scenarios.model_run import ModelRun
from tests.support.fake_kernel import trace_along
from tests.support.hosts import AMX_HOST, PROFILES, with_behaviours

VARIANTS = sorted((b for b in Behaviour if b not in DEFECTS), key=lambda b: b.name)


def findings(host, *behaviours, families=()):
    """What the checkers find on a kernel with these behaviours, by scenario."""
    found, checkers = [], Checkers(with_behaviours(host, *behaviours))
    model_run = ModelRun(replace(host, behaviours=frozenset(behaviours)))
    for scenario in catalog.scenarios(host):
        if (scenario.needs_amx and not host.amx) or (families and scenario.family not in families):
            continue
        trace = trace_along(scenario, model_run)
        model_run.forget_if_long()
        both = (*checkers.within(scenario, trace), *checkers.across(scenario, trace, ()))
        found += [(scenario.id, finding) for finding in both]
    return found


def kinds(found):
    return {(finding.checker, finding.invariant) for _, finding in found}


@pytest.mark.parametrize("host", PROFILES.values(), ids=PROFILES)
def test_a_correct_kernel_gives_no_finding_in_the_whole_catalogue(host):
    assert findings(host)[:3] == []


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda b: b.name)
def test_a_legal_variant_gives_no_finding(variant):
    families = {"pair", "cpuid", "permission", "system", "msrs", "sregs"}
    assert findings(AMX_HOST, variant, families=families)[:3] == []


def test_o3_is_found_by_holding_two_orders_against_each_other():
    # known-bugs O3: SET_XSAVE, then the first SET_CPUID2 with XTILE_DATA: XSTATE_BV=0
    found = findings(AMX_HOST, Behaviour.CPUID_ENABLE_DISCARDS_FPSTATE, families={"pair"})
    pairs = {(name, f.other) for name, f in found if f.checker == "order-independence"}
    assert pairs == {("pair.legacy.cpuid", "pair.cpuid.legacy")}


def test_o1_is_found_by_holding_two_orders_against_each_other():
    # known-bugs O1: SET_XSAVE(XSTATE_BV[18]=1), then SET_MSRS(XFD=1<<18): bit 18 stays
    found = findings(AMX_HOST, Behaviour.XFD_WRITE_KEEPS_XSTATE_BV, families={"pair"})
    pairs = {(name, f.other) for name, f in found if f.checker == "order-independence"}
    assert pairs == {("pair.tiles.xfd", "pair.xfd.tiles")}


@pytest.mark.parametrize(
    "defect", [Behaviour.XFD_WRITE_KEEPS_XSTATE_BV, Behaviour.SET_XSAVE_KEEPS_XFD_ARMED]
)
def test_a_state_that_faults_at_the_next_load_is_found(defect):
    found = findings(AMX_HOST, defect, families={"pair"})
    assert ("xstate-and-xfd", "INV-29") in kinds(found)


def test_o2_is_found_by_two_views_of_one_state():
    # known-bugs O2: KVM_GET_FPU gives what KVM_GET_XSAVE2 does not; what a KVM_SET_FPU leaves in
    # memory depends on where the load and save of a KVM_RUN stood before it
    found = findings(AMX_HOST, Behaviour.FPU_IOCTLS_IGNORE_XSTATE_BV, families={"fpu"})
    assert kinds(found) == {("two-views", "§7.4"), ("order-independence", "INV-37")}


def test_b4_is_found_by_setting_what_is_advertised():
    # known-bugs B4: "KVM_SET_XCRS with the advertised 0x202e7 must then fail"
    found = findings(AMX_HOST, Behaviour.XTILE_CFG_ADVERTISED_ALONE, families={"pair"})
    refused = {name for name, f in found if (f.checker, f.invariant) == ("closure", "INV-23")}
    assert refused == {"pair.advertised.tile-cfg"}
