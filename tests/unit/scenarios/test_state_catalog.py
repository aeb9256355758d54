"""What the families of MSRs, XCRS and SREGS try: contract 5, 6 and 9."""

import pytest

from kvmprobe.model.behaviours import DEFECTS, Behaviour
from kvmprobe.scenarios.catalog import msrs, sregs, vmm, xcrs
from kvmprobe.scenarios.hazard import first_hazard
from kvmprobe.scenarios.model_run import ModelRuns
from kvmprobe.scenarios.scenario import Need
from tests.support.hosts import AMX_HOST, AVX512_HOST, cet_host

FAMILIES = {"msrs": msrs, "xcrs": xcrs, "sregs": sregs, "vmm": vmm}
O1 = Behaviour.XFD_WRITE_KEEPS_XSTATE_BV
BY_ID = {s.id: s for family in FAMILIES.values() for s in family.scenarios(AMX_HOST)}


def tried(scenario_id, op_name, field):
    return {getattr(o, field) for _, o in BY_ID[scenario_id].ops() if o.name == op_name}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_is_lean(family):
    assert len(FAMILIES[family].scenarios(AMX_HOST)) <= 150


@pytest.mark.parametrize("family", FAMILIES)
def test_ids_are_the_same_on_every_host(family):
    scenarios = FAMILIES[family].scenarios
    assert [s.id for s in scenarios(AVX512_HOST)] == [s.id for s in scenarios(AMX_HOST)]


@pytest.mark.parametrize("start", ["no-cpuid", "cpuid", "tiles", "empty", "no-xsave"])
def test_every_bit_of_xcr0_is_tried_alone_and_with_fp_and_sse(start):
    values = tried(f"xcrs.single.{start}", "set-xcrs", "xcr0")
    assert values >= {1 << nr for nr in range(64)} | {3 | 1 << nr for nr in range(64)}


def test_every_legal_combination_of_groups_is_tried():
    # FP, SSE, YMM, AVX-512, PKRU and the tiles: contract 6
    values = tried("xcrs.combinations.tiles", "set-xcrs", "xcr0")
    assert values >= {0x1, 0x3, 0x7, 0xE7, 0x201, 0x2E7, 0x60001, 0x602E7}


@pytest.mark.parametrize("start", ["no-cpuid", "cpuid", "tiles", "empty", "no-xsave", "no-pku"])
def test_every_bit_of_cr4_is_tried(start):
    assert tried(f"sregs.bits.{start}", "set-sregs", "cr4") == {1 << nr for nr in range(64)}


def test_a_sleep_in_the_kernel_takes_privilege():
    needs = {i: s.needs for i, s in BY_ID.items() if "asleep" in i}
    assert needs
    assert all(Need.PRIVILEGE in need for need in needs.values())


def test_with_o1_exactly_one_access_to_a_cet_msr_endangers_the_host():
    # known-bugs O1: on a kernel with CET, SET_XSAVE, SET_MSRS(XFD), KVM_GET_MSRS(U_CET)
    host = cet_host()
    model_runs = ModelRuns(host)
    found = {s.id for s in msrs.scenarios(host) if first_hazard(s, model_runs, frozenset({O1}))}
    assert found == {"msrs.cet-xsave-then-xfd.tiles"}


def test_without_cet_only_runs_behind_a_sleep_endanger_the_host():
    model_runs = ModelRuns(AMX_HOST)
    found = {s.id for s in msrs.scenarios(AMX_HOST) if first_hazard(s, model_runs, DEFECTS)}
    assert found == {"msrs.asleep-before-xsave.tiles", "msrs.asleep-behind-xsave.tiles"}
