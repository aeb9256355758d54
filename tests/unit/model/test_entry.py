"""What KVM_SET_SREGS accepts and VM entry refuses: SDM vol.3 §27.3.1.1."""

import errno
from dataclasses import replace

import pytest

from kvmprobe.errors import NotModelled
from kvmprobe.model import guest, run
from kvmprobe.model.guest_control import NOTHING, nothing
from kvmprobe.model.outcome import Done, Failed, OneOf
from kvmprobe.model.sregs import set_cr4
from kvmprobe.model.vcpu_state import run_until_port
from tests.support.hosts import VCPU, cet_host, machine_with_vcpu

# linux/kvm.h
HLT, FAIL_ENTRY = 5, 9
CET, PCIDE = 1 << 23, 1 << 17


def reset_with(cr4):
    """A vCPU after reset but for CR4; no KVM_SET_CPUID2."""
    host = cet_host()
    ecx = host.supported.at(1, 0).ecx | 1 << 17
    host = replace(host, supported=host.supported.replaced(1, 0, ecx=ecx))
    step = set_cr4(machine_with_vcpu(host), VCPU, cr4)
    assert step.outcome == Done()
    return step.machine


# Fault 21
@pytest.mark.parametrize("runs", [run.run_until_halt, run_until_port])
def test_cr4_cet_without_cr0_wp_fails_the_entry(runs):
    step = runs(reset_with(CET), VCPU)
    assert step.outcome == Done(fields={"exit_reason": FAIL_ENTRY})


def test_a_failed_entry_loads_and_saves_the_guest_fpu():
    vcpu = run.run_until_halt(reset_with(CET), VCPU).machine.vcpu(VCPU)
    assert vcpu.fpstate.saved


def test_a_failed_entry_of_the_payload_executes_nothing():
    step = guest.execute(reset_with(CET), VCPU, guest.NO_BITS, nothing, NOTHING)
    assert step.outcome == Done(FAIL_ENTRY)
    assert not step.machine.vcpu(VCPU).in_payload


def test_an_immediate_exit_comes_before_the_entry():
    assert run.run_immediate_exit(reset_with(CET), VCPU).outcome == Failed(errno.EINTR)


def test_whether_pcide_outside_long_mode_fails_the_entry_depends_on_the_cpu():
    # SDM vol.3 §27.3.1.1; AMD APM vol.2 §15.5.1 has no such check.
    outcome = run.run_until_halt(reset_with(PCIDE), VCPU).outcome
    assert isinstance(outcome, OneOf)
    assert [choice.fields["exit_reason"] for choice in outcome.choices] == [HLT, FAIL_ENTRY]


def test_guest_code_after_such_an_entry_is_not_modelled():
    with pytest.raises(NotModelled, match="PCIDE"):
        guest.execute(reset_with(PCIDE), VCPU, guest.NO_BITS, nothing, NOTHING)
