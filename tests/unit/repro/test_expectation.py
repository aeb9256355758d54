"""What a program judges: only what holds on every correct kernel."""

import errno

import pytest

from kvmprobe.model.outcome import NewDescriptor
from kvmprobe.model.sapphire_rapids import sapphire_rapids
from kvmprobe.repro.expectation import expectations, showing
from kvmprobe.repro.other_hosts import Profile
from kvmprobe.scenarios import catalog
from kvmprobe.scenarios.cpuid_tables import Table
from kvmprobe.scenarios.ops.cpuid import GetCpuid2, GetSupportedCpuid, SetCpuid2
from kvmprobe.scenarios.ops.lifecycle import CreateVcpu, CreateVm, OpenKvm
from kvmprobe.scenarios.ops.permission import RequestPermission
from kvmprobe.scenarios.ops.sregs import GetSregs, SetSregs
from kvmprobe.scenarios.ops.system import GetMsrIndexList
from kvmprobe.scenarios.scenario import Scenario, ScenarioStep

HOST = sapphire_rapids()
VCPU = (OpenKvm(), CreateVm(), CreateVcpu())


def expected(*ops, profile=Profile.ASSUMED):
    steps = tuple(ScenarioStep(op) for op in ops)
    return expectations(Scenario("x.y", "x", "y", steps), HOST, profile)


def test_descriptors_are_expected_to_be_some():
    assert [e.result for e in expected(*VCPU)] == [NewDescriptor()] * 3


def test_errno_that_differs_between_kernels_is_not_judged():
    # xstate.rst: EINVAL of a number that is not known; 19 is APX in Linux 6.16.
    (found,) = expected(RequestPermission(19))
    assert (found.result, found.depends_on) == (None, ("KNOWS_APX",))


def test_errno_that_does_not_differ_is_judged():
    (found,) = expected(RequestPermission(63))
    assert (found.result, found.depends_on) == (-errno.EINVAL, ())


def test_entries_behind_the_table_are_not_judged():
    # A kernel with GET_CPUID2_KEEPS_NENT returns nent entries, the last of them blank.
    *_, found = expected(*VCPU, SetCpuid2(Table.ONE_LEAF), GetCpuid2())
    assert found.more_entries
    assert len(found.table.table.entries) == 1
    assert "nent" not in found.fields


def test_table_of_an_assumed_cpu_is_not_judged_but_its_xstate_is():
    _, found = expected(OpenKvm(), GetSupportedCpuid())
    assert found.table is None
    # Without permission: xstate.rst; leaf 0xD lacks XTILE_DATA, and XTILE_CFG with it.
    assert found.fields["0xD.0:EDX:EAX"] == 0x2E7


def test_table_of_an_examined_cpu_is_judged():
    *_, found = expected(OpenKvm(), GetSupportedCpuid(), profile=Profile.EXAMINED)
    assert found.table is not None


def test_cr4_that_depends_on_features_is_not_judged_on_an_assumed_cpu():
    # SDM vol.3 2.5: CR4.SMEP (20) needs 7.0:EBX[7].
    full = (*VCPU, SetCpuid2(Table.FULL), GetSregs(), SetSregs(1 << 20))
    assert expected(*full)[-1].result is None


def test_whether_a_kernel_lists_xss_is_not_judged_on_an_assumed_cpu():
    _, found = expected(OpenKvm(), GetMsrIndexList())
    assert not any("XSS" in name for name in found.fields)


@pytest.mark.parametrize(
    ("scenario", "defect"),
    [
        ("restore.cpuid-xcrs-xsave-msrs.perm-granted.xfd-armed.bv-tiles", "O1"),
        ("restore.cpuid-xcrs-msrs-xsave.perm-granted.xfd-armed.bv-tiles", "B1"),
        ("restore.cpuid-xcrs-msrs-xsave.perm-none.xfd-zero.bv-zero", "B4"),
        ("fpu.set.first", "O2"),
        ("restore.xsave-xcrs-msrs-cpuid.perm-granted.xfd-armed.bv-legacy", "O3"),
    ],
)
def test_a_program_says_which_known_defect_it_shows(scenario, defect):
    found = next(s for s in catalog.scenarios(HOST) if s.id == scenario)
    assert defect in showing(found, HOST)
