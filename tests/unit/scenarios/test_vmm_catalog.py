"""The orders of programs that exist, by vmm-restore-orders 2.1: X XSAVE, C XCRS, F XFD."""

import pytest

from kvmprobe.model.behaviours import DEFECTS, Behaviour
from kvmprobe.scenarios.catalog import vmm
from kvmprobe.scenarios.hazard import first_hazard
from kvmprobe.scenarios.model_run import ModelRuns
from tests.support.hosts import AMX_HOST, with_behaviours

SCENARIOS = {s.id: s for s in vmm.scenarios(AMX_HOST)}
LETTERS = {"set-xsave": "X", "set-xcrs": "C"}
O2_O3 = {Behaviour.FPU_IOCTLS_IGNORE_XSTATE_BV, Behaviour.CPUID_ENABLE_DISCARDS_FPSTATE}


def order(scenario):
    found = []
    for _, op in scenario.ops():
        writes_xfd = op.name == "restore-listed-msrs" or any(
            index == 0x1C4 for index, _ in getattr(op, "entries", ())
        )
        found.append("F" if writes_xfd else LETTERS.get(op.name, ""))
    return "".join(found)


@pytest.mark.parametrize(
    ("preset", "expected"),
    [
        ("kselftest", "FCX"),
        ("kselftest-pre517", "XCF"),
        ("qemu-full", "XCF"),
        ("qemu-runtime", "XC"),
        ("firecracker", "XC"),
        ("cloud-hypervisor", "XCF"),
        ("crosvm", "CFX"),
        ("libkrun", "XCF"),
        ("stratovirt", "XCF"),
        ("dragonball", "FXC"),
        ("openvmm", "XC"),
        ("hyperlight", "XC"),
        ("kvmtool", ""),
        ("tglx-2021", "FCX"),
        ("perm-xfc", "XFC"),
        ("perm-cxf", "CXF"),
    ],
)
def test_a_preset_has_its_programs_order(preset, expected):
    assert order(SCENARIOS[f"vmm.{preset}.xfd-armed"]) == expected


def test_every_order_of_the_three_calls_is_somebodys_or_tried():
    orders = {order(s) for s in SCENARIOS.values()}
    assert orders >= {"XCF", "XFC", "CXF", "CFX", "FXC", "FCX"}


def test_no_conforming_source_endangers_a_host():
    # contract 9: "safe in practice because a conforming source never produces BV[18] with XFD[18]"
    model_runs = ModelRuns(with_behaviours(AMX_HOST))
    assert [i for i, s in SCENARIOS.items() if first_hazard(s, model_runs, DEFECTS - O2_O3)] == []


def test_cloud_hypervisor_sets_the_fpu_behind_xsave():
    names = [op.name for _, op in SCENARIOS["vmm.cloud-hypervisor.tiles"].ops()]
    assert names.index("set-xsave") < names.index("set-fpu")


def test_only_the_selftest_restores_before_cpuid():
    def early(scenario):
        names = [op.name for _, op in scenario.ops()]
        return names.index("set-xsave") < names.index("set-cpuid2")

    presets = [s for s in SCENARIOS.values() if "set-xsave" in {op.name for _, op in s.ops()}]
    assert {s.row for s in presets if early(s)} == {"kselftest-xsave-only"}
