"""A call on a vCPU that another thread runs comes after KVM_RUN."""

import pytest

from kvmprobe.abi.executor import HostRegisters
from kvmprobe.errors import NotModelled
from kvmprobe.model.behaviours import Behaviour
from kvmprobe.model.outcome import HostDies
from kvmprobe.model.uabi import get_xsave2, set_xsave
from kvmprobe.model.waiting import during_run
from kvmprobe.scenarios.ops.during_run import (
    GetXsave2DuringRun,
    SetXcrsDuringRun,
    SetXsaveDuringRun,
)
from kvmprobe.scenarios.ops.run import RunImmediateExit
from kvmprobe.scenarios.ops.xcrs import SetXcrs
from tests.support.guests import in_payload
from tests.support.hosts import B1, B9, B18, VCPU, image, with_behaviours, with_fields, xstate_bv

XMM = b"\x5a" * 256


def restored(machine=None):
    return set_xsave(machine or in_payload(), VCPU, image(B1, {1: XMM})).machine


def test_the_guest_has_run_before_the_call():
    step = GetXsave2DuringRun().step(restored())
    ran = step.machine.vcpu(VCPU)
    assert (ran.ran, ran.fpstate.saved) == (True, True)
    assert step.outcome == get_xsave2(step.machine, VCPU).outcome


def test_what_it_restores_is_there_after_the_run():
    step = SetXsaveDuringRun(0).step(restored())
    assert not step.machine.vcpu(VCPU).fpstate.saved
    assert step.machine.vcpu(VCPU).fpstate.xstate_bv == 0


@pytest.mark.parametrize("xcr0", [7, 6])
def test_it_returns_what_the_call_returns_alone(xcr0):
    alone = SetXcrs(xcr0).step(in_payload())
    waited = SetXcrsDuringRun(xcr0).step(in_payload())
    assert (waited.outcome, waited.rule) == (alone.outcome, alone.rule)


def test_pkru_of_the_caller_is_not_that_of_the_thread_that_runs_it():
    # Defect O7: the thread's PKRU of 0, as it saves the guest's state, hides the guest's PKRU.
    host = with_behaviours(in_payload().host, Behaviour.PKRU_BIT_OF_CALLER)
    machine = in_payload(host=host, pkru=0xC, caller=HostRegisters.PKRU_INIT)
    machine = machine._replace(registers=HostRegisters.PKRU_INIT)
    waited, alone = GetXsave2DuringRun().step(machine), RunImmediateExit().step(machine)
    shown = [get_xsave2(step.machine, VCPU).outcome.image.image for step in (waited, alone)]
    assert [xstate_bv(seen) & B9 for seen in shown] == [B9, 0]


def test_a_run_that_kills_the_host_comes_first():
    host = with_behaviours(in_payload().host, Behaviour.XFD_WRITE_KEEPS_XSTATE_BV)
    machine = with_fields(in_payload(host=host), xstate_bv=B18, xfd=B18)
    assert isinstance(GetXsave2DuringRun().step(machine).outcome, HostDies)


def test_a_guest_that_cannot_be_entered_is_not_modelled():
    # CR4.CET without CR0.WP fails the entry: SDM vol.3 §27.3.1.1.
    machine = in_payload(cr4=0x620 | 1 << 23, cr0=0x8000_0033)
    with pytest.raises(NotModelled):
        during_run(machine, VCPU, lambda machine: get_xsave2(machine, VCPU))
