"""A scenario that goes on in a forked child."""

from __future__ import annotations

import errno

from kvmprobe.scenarios.calls import Captured, DuringRun, GoOnInChild, Kick, Output, Relation, Spawn
from tests.support.raw_calls import GET_API_VERSION, OPEN, PAYLOAD, VCPU, get_xsave, set_xsave
from tests.support.raw_worker import run_calls


def test_in_a_child_the_parents_vcpu_cannot_be_used_and_a_new_one_can():
    # virt/kvm/kvm_main.c: kvm_vcpu_ioctl: vcpu->kvm->mm != current->mm
    ran = run_calls(
        *VCPU, GoOnInChild(), get_xsave(Output(4096)), *VCPU[1:], get_xsave(Output(4096))
    )
    assert (ran.results[3:5], ran.results[-1]) == ([0, -errno.EIO], 0)


def test_a_call_during_kvm_run_fails_as_kvm_run_does_in_a_child():
    # virt/kvm/kvm_main.c: kvm_vcpu_ioctl: vcpu->kvm->mm != current->mm
    call = DuringRun(get_xsave(Output(4096)), "ram", Kick.BY_SIGNAL)
    assert run_calls(*PAYLOAD, GoOnInChild(), call).results[-1] == -errno.EIO


def test_a_child_has_the_outputs_that_were_captured_before_it():
    saved = get_xsave(Output(4096, capture="state"))
    ran = run_calls(*VCPU, saved, GoOnInChild(), *VCPU[1:], set_xsave(Captured("state")))
    assert ran.results[-1] == 0


def test_a_scenario_ends_as_the_child_that_goes_on():
    ran = run_calls(OPEN, GoOnInChild(), GET_API_VERSION, VCPU[2])
    assert ran.status == "broken"
    assert "there is no descriptor named vm" in ran.lines[-1]["traceback"]


def test_a_scenario_with_a_task_cannot_go_on_in_a_child():
    ran = run_calls(Spawn("other", Relation.THREAD), GoOnInChild())
    assert "with tasks cannot go on" in ran.lines[-1]["traceback"]
