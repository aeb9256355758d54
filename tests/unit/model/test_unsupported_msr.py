"""MSRs that KVM or the guest lacks, where they are ignored.

Linux arch/x86/kvm/x86.c: kvm_do_msr_access ignores KVM_MSR_RET_UNSUPPORTED with ignore_msrs;
kvm_set_msr_common returns it for an unknown MSR, for those of CET without SHSTK or IBT in CPUID,
and since XSS follows CPUID for a write of XSS without XSAVES.  For XFD and XFD_ERR without XFD, a
read of XSS without XSAVES and an illegal value it returns 1.
"""

import pytest

from kvmprobe.model import msr, one_reg
from kvmprobe.model.behaviours import Behaviour
from kvmprobe.model.guest_msr import rdmsr, wrmsr
from kvmprobe.model.outcome import Done, Failed
from tests.support.guests import GP, NONE, edx_eax, in_payload, step, vector, without_feature
from tests.support.hosts import AMX_HOST, VCPU, cet_host, machine_with_vcpu, with_behaviours

XFD, XFD_ERR, XSS, PAT, U_CET = 0x1C4, 0x1C5, 0xDA0, 0x277, 0x6A0
NOWHERE = 0x4000_4000
IGNORED, FOLLOWS = Behaviour.UNSUPPORTED_MSRS_IGNORED, Behaviour.XSS_FOLLOWS_CPUID
NO_XFD = without_feature(0xD, 1, "eax", 4)
NO_XSAVES = without_feature(0xD, 1, "eax", 3)


def before_cpuid(*behaviours):
    return machine_with_vcpu(cet_host(*behaviours), granted=True)


def written(machine, index, value):
    return msr.set_msrs(machine, VCPU, [(index, value)])


def in_guest(*behaviours, table=None):
    return in_payload(table, host=with_behaviours(AMX_HOST, *behaviours))


@pytest.mark.parametrize("index", [NOWHERE, U_CET])
def test_the_host_writes_and_nothing_is_kept(index):
    machine = before_cpuid(IGNORED)
    result = written(machine, index, 1)
    assert (result.outcome, result.machine) == (Done(1), machine)


@pytest.mark.parametrize("index", [NOWHERE, U_CET])
def test_the_host_reads_zero(index):
    found = msr.get_msrs(before_cpuid(IGNORED), VCPU, [index]).outcome
    assert (found.value, list(found.fields.values())) == (1, [0])


def test_where_they_are_not_ignored_an_unknown_one_ends_the_list():
    assert written(before_cpuid(), NOWHERE, 1).outcome == Done(0)


@pytest.mark.parametrize(("index", "value"), [(PAT, 2), (XFD, 1), (XFD_ERR, 1)])
def test_what_an_msr_that_exists_refuses_stays_refused(index, value):
    assert written(before_cpuid(IGNORED), index, value).outcome == Done(0)


def test_xss_without_xsaves_is_ignored_where_it_follows_cpuid():
    result = written(before_cpuid(IGNORED, FOLLOWS), XSS, 0x1800)
    assert (result.outcome, result.machine.vcpu(VCPU).xss) == (Done(1), 0)


def test_xss_without_xsaves_is_written_where_it_does_not_follow_cpuid():
    assert written(before_cpuid(IGNORED), XSS, 0x1800).machine.vcpu(VCPU).xss == 0x1800


def test_one_register_is_read_as_zero():
    machine = before_cpuid(IGNORED, Behaviour.ONE_REG_MSRS)
    result = one_reg.get_one_reg(machine, VCPU, one_reg.msr_id(NOWHERE))
    assert result.outcome == Done(fields={one_reg.VALUE_FIELD: 0})


def test_another_register_is_still_unknown():
    machine = before_cpuid(IGNORED, Behaviour.ONE_REG_MSRS)
    assert isinstance(one_reg.get_one_reg(machine, VCPU, 7).outcome, Failed)


@pytest.mark.parametrize("index", [NOWHERE, U_CET])
def test_the_guest_reads_zero(index):
    outcome = step(in_guest(IGNORED), rdmsr, ecx=index).outcome
    assert (outcome.fields["vector"], edx_eax(outcome)) == (NONE, 0)


@pytest.mark.parametrize("index", [NOWHERE, U_CET])
def test_the_guest_writes_without_a_fault(index):
    assert vector(in_guest(IGNORED), wrmsr, 1, index) == NONE


@pytest.mark.parametrize("index", [XFD, XFD_ERR])
@pytest.mark.parametrize("instruction", [rdmsr, wrmsr])
def test_xfd_without_its_feature_is_gp_all_the_same(index, instruction):
    assert vector(in_guest(IGNORED, table=NO_XFD), instruction, 0, index) == GP


def test_a_guest_without_xsaves_cannot_read_xss():
    assert vector(in_guest(IGNORED, FOLLOWS, table=NO_XSAVES), rdmsr, 0, XSS) == GP


@pytest.mark.parametrize(("behaviours", "expected"), [((FOLLOWS,), NONE), ((), GP)])
def test_a_guest_without_xsaves_writes_xss_where_it_follows_cpuid(behaviours, expected):
    assert vector(in_guest(IGNORED, *behaviours, table=NO_XSAVES), wrmsr, 0, XSS) == expected
