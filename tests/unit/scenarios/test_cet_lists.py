"""What a guest with CET loses by the list of MSRs that its monitor restores."""

import pytest

from kvmprobe.model.behaviours import Behaviour
from kvmprobe.scenarios.catalog import migration, vmm
from kvmprobe.scenarios.domain import Domain
from kvmprobe.scenarios.ops.guest_control import GuestRdmsr
from kvmprobe.scenarios.ops.guest_shadow_stack import GuestRdssp
from kvmprobe.scenarios.ops.guest_xsave import GuestXrstor
from kvmprobe.scenarios.ops.msrs import GetMsrs
from kvmprobe.scenarios.ops.one_reg import GetOneReg
from tests.support.hosts import cet_host

HOST = cet_host(Behaviour.ONE_REG_MSRS, Behaviour.XSS_FOLLOWS_CPUID, ibt=True)
OLD, WITH_XSS, WITH_CET, WITH_SSP = (
    "firecracker",
    "firecracker-1.16.1",
    "firecracker-cet",
    "qemu-cet",
)
XSS, U_CET, S_CET = 0xDA0, 0x6A0, 0x6A2
GP, NONE = 13, 0x100


@pytest.fixture(scope="module")
def catalogue():
    families = (*migration.scenarios(HOST), *vmm.scenarios(HOST))
    return {scenario.id: scenario for scenario in families}


def outcomes(scenario):
    domain = Domain(HOST)
    return [(op, domain.follow(op).outcome) for _, op in scenario.ops()]


def guest_reads(scenario, kind, index=None):
    """What the moved guest reads: RAX of its last instruction of a kind."""
    found = [
        outcome.fields["rax"]
        for op, outcome in outcomes(scenario)
        if isinstance(op, kind) and op.vcpu == "vcpu1" and getattr(op, "index", None) == index
    ]
    return found[-1]


def vector_of_xrstors(scenario):
    return [o.fields["vector"] for op, o in outcomes(scenario) if isinstance(op, GuestXrstor)][-1]


@pytest.mark.parametrize(
    ("name", "xss", "vector"),
    [(OLD, 0, GP), (WITH_XSS, 0x1800, NONE), (WITH_CET, 0x1800, NONE), (WITH_SSP, 0x1800, NONE)],
)
def test_a_guest_restored_without_ia32_xss_cannot_load_its_own_state(catalogue, name, xss, vector):
    scenario = catalogue[f"migrate.{name}.cet-state"]
    assert guest_reads(scenario, GuestRdmsr, XSS) == xss
    assert vector_of_xrstors(scenario) == vector


@pytest.mark.parametrize(("name", "value"), [(OLD, 0), (WITH_XSS, 0), (WITH_CET, 1), (WITH_SSP, 1)])
def test_ia32_xss_alone_does_not_bring_the_cet_components(catalogue, name, value):
    assert guest_reads(catalogue[f"migrate.{name}.cet-state"], GuestRdmsr, U_CET) == value


@pytest.mark.parametrize(
    ("name", "s_cet", "ssp"),
    # Without a shadow stack RDSSP is a NOP: RAX stays 0x55.
    [(OLD, 0, 0x55), (WITH_XSS, 0, 0x55), (WITH_CET, 3, 0), (WITH_SSP, 3, 0x415000)],
)
def test_only_one_reg_brings_the_shadow_stack_pointer(catalogue, name, s_cet, ssp):
    scenario = catalogue[f"migrate.{name}.shadow-stack"]
    assert guest_reads(scenario, GuestRdmsr, S_CET) == s_cet
    assert guest_reads(scenario, GuestRdssp) == ssp


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (OLD, (0, 0, 0)),
        (WITH_XSS, (0x1800, 0, 0)),
        (WITH_CET, (0x1800, 1, 0)),
        (WITH_SSP, (0x1800, 1, 0x9000)),
    ],
)
def test_the_host_reads_what_a_preset_restored(catalogue, name, expected):
    seen = outcomes(catalogue[f"vmm.{name}.cet"])
    msrs = [o.fields for op, o in seen if isinstance(op, GetMsrs) and U_CET in op.indices][-1]
    ssp = [o.fields["value"] for op, o in seen if isinstance(op, GetOneReg)][-1]
    assert (msrs["XSS"], msrs["U_CET"], ssp) == expected
