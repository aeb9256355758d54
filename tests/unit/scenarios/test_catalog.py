import re
from dataclasses import replace
from itertools import pairwise

import pytest

from kvmprobe.model.behaviours import Behaviour
from kvmprobe.scenarios import catalog
from kvmprobe.scenarios.catalog import restore
from kvmprobe.scenarios.catalog.behaviour_probes import PROBES
from kvmprobe.scenarios.ops.permission import RequestGuestPermission
from kvmprobe.scenarios.ops.run import RunImmediateExit, RunUntilHalt
from kvmprobe.xstate.layout import Component, Layout
from tests.support.hosts import AMX_HOST, AVX512_HOST, PROFILES

AMX = catalog.scenarios(AMX_HOST)
MATRIX = restore.scenarios(AMX_HOST)
BY_ID = {s.id: s for s in AMX}
ID = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")
LOADS = (RunUntilHalt, RunImmediateExit)


def restore_calls(scenario):
    names = {"set-cpuid2": "cpuid", "set-xcrs": "xcrs", "set-xfd": "msrs", "set-xsave": "xsave"}
    return [names[op.name] for _, op in scenario.ops() if op.name in names]


def test_the_matrix_has_2160_scenarios():
    # 30 orders, 3 permissions, 2 XFD, 4 XSTATE_BV, 3 XCR0
    assert sum(s.id.startswith("restore.") for s in AMX) == 30 * 3 * 2 * 4 * 3 == 2160


def test_96_of_them_also_kick():
    # 6 orders with CPUID first, 2 permissions, 2 XFD, 4 XSTATE_BV
    assert sum(s.id.startswith("kick.") for s in AMX) == 6 * 2 * 2 * 4 == 96


def test_no_id_occurs_twice():
    assert len(BY_ID) == len(AMX)


def test_ids_are_dotted_names():
    # lab-needs.md: dotted, [A-Za-z0-9_-]
    assert [i for i in BY_ID if not ID.fullmatch(i)] == []


def test_the_documented_scenario_is_in_it():
    assert "restore.cpuid-msrs-xcrs-xsave.perm-granted.xfd-armed.bv-tiles" in BY_ID


def test_ids_are_the_same_on_every_host():
    assert [s.id for s in catalog.scenarios(AVX512_HOST)] == [s.id for s in AMX]


def test_row_and_column_make_the_id():
    assert [s.id for s in AMX if s.id != f"{s.family}.{s.row}.{s.column}"] == []


def test_the_row_is_the_order_in_which_calls_are_made():
    assert [s.id for s in MATRIX if "-".join(restore_calls(s)) != s.row] == []


def test_every_order_of_the_three_calls_is_in_it_without_cpuid():
    rows = {s.row for s in MATRIX if "cpuid" not in s.row}
    assert len(rows) == 6


@pytest.mark.parametrize("host", PROFILES.values(), ids=PROFILES)
def test_scenarios_without_amx_ask_for_no_tiles(host):
    plain = [s for s in restore.scenarios(host) if not s.needs_amx]
    texts = {op.text for s in plain for _, op in s.ops() if op.name in {"set-xsave", "set-xfd"}}
    assert not any("XTILE" in text for text in texts)


def test_288_scenarios_of_the_matrix_need_no_amx():
    # restore: 30 orders, 1 permission, 1 XFD, 3 XSTATE_BV, 3 XCR0; kick: 6 orders, 3 XSTATE_BV
    assert sum(not s.needs_amx for s in MATRIX) == 30 * 3 * 3 + 6 * 3


def test_permission_is_asked_before_the_vcpu_or_after_it():
    def places(scenario):
        names = [op.name for _, op in scenario.ops()]
        return names.index("req-guest-perm") < names.index("create-vcpu")

    granted = {places(s) for s in AMX if ".perm-granted." in s.id}
    late = {places(s) for s in AMX if ".perm-late." in s.id}
    assert (granted, late) == ({True}, {False})


def test_every_restore_call_is_followed_by_the_observers():
    bare = [s.id for s in MATRIX for step in s.steps[-4:] if len(step.observers) != 3]
    assert bare == []


def test_the_guest_runs_once_and_last():
    restores = [s for s in AMX if s.id.startswith("restore.")]
    runs = {tuple(isinstance(step.op, LOADS) for step in s.steps[-2:]) for s in restores}
    loads = {sum(isinstance(op, LOADS) for _, op in s.ops()) for s in restores}
    assert (runs, loads) == ({(False, True)}, {1})


def test_a_kick_returns_at_once_before_the_guest_runs():
    endings = {tuple(step.op for step in s.steps[-2:]) for s in AMX if s.id.startswith("kick.")}
    assert endings == {(RunImmediateExit(), RunUntilHalt())}


def test_every_image_can_be_made_on_a_host_with_mpx():
    # Skylake-SP: XCR0 0x2ff; BNDREGS at 960, BNDCSR at 1024, 64 bytes each.
    layout = Layout((*AVX512_HOST.layout.components, Component(3, 960, 64), Component(4, 1024, 64)))
    host = replace(AVX512_HOST, user_features=0xFF, kvm_xcr0=0xFF, layout=layout)
    plain = [s for s in catalog.scenarios(host) if not s.needs_amx]
    assert all(op.lower(host) for s in plain for _, op in s.ops())


@pytest.mark.parametrize("behaviour", PROBES, ids=lambda b: b.name)
def test_a_probe_loads_no_guest_fpu_that_can_have_tile_data(behaviour):
    # known-bugs O1: "The tool stops there by default".  XFD disables tile data alone, which takes
    # permission; without AMX nobody has that.
    probe = PROBES[behaviour]
    asks = any(isinstance(op, RequestGuestPermission) for _, op in probe.ops())
    loads = any(isinstance(op, LOADS) for _, op in probe.ops())
    assert not (loads and (asks or probe.needs_amx))


def test_the_probes_make_the_two_calls_in_opposite_order():
    def order(behaviour):
        wanted = ("set-xfd", "set-xsave")
        return [op.name for _, op in PROBES[behaviour].ops() if op.name in wanted]

    assert order(Behaviour.SET_XSAVE_KEEPS_XFD_ARMED) == ["set-xfd", "set-xsave"]
    assert order(Behaviour.XFD_WRITE_KEEPS_XSTATE_BV) == ["set-xsave", "set-xfd"]


def test_a_scenario_can_be_cut_short():
    whole = AMX[0]
    assert (whole.upto(2).id, whole.upto(2).steps) == (whole.id, whole.steps[:2])


def test_ops_are_numbered_by_step():
    numbers = [number for number, _ in AMX[0].ops()]
    assert all(after - before in {0, 1} for before, after in pairwise(numbers))
    assert numbers[-1] == len(AMX[0].steps) - 1
