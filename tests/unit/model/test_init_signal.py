"""INIT of a vCPU: XCR0, XSS, XFD and content stay, but MPX and CET."""

from dataclasses import replace

import pytest

from kvmprobe.abi.numbers import Msr
from kvmprobe.model.guest_cpuid import set_cpuid2
from kvmprobe.model.init_signal import TAKE_INIT, cannot_latch, cannot_take, latch_init, taken
from kvmprobe.model.machine import CR0_RESET, GuestCpuid
from kvmprobe.model.msr import set_xfd
from kvmprobe.model.run import run_until_halt
from kvmprobe.model.sregs import set_cr4
from kvmprobe.model.state import State
from kvmprobe.model.uabi import set_xsave
from kvmprobe.model.vcpu_state import RESET, get_state, known, set_values
from kvmprobe.model.xcr import set_xcr0
from kvmprobe.xstate.cpuid import CpuidEntry, CpuidTable
from kvmprobe.xstate.layout import Component, Layout
from tests.support.hosts import (
    AMX_HOST,
    AMX_LAYOUT,
    B2,
    B18,
    TILES,
    VCPU,
    amx_vcpu,
    image,
    machine_with_vcpu,
)

YMM = bytes([0x5A]) * 256


def latched(machine):
    vcpu = machine.vcpu(VCPU)._replace(lapic=True)
    return latch_init(machine.with_vcpu(VCPU, vcpu), VCPU).machine


def after(machine):
    return taken(latched(machine).vcpu(VCPU))


def test_nothing_happens_before_the_vcpu_takes_it():
    machine = set_cr4(amx_vcpu(), VCPU, 1 << 9).machine
    assert latched(machine).vcpu(VCPU).cr4 == 1 << 9


def test_a_vcpu_without_one_stays_as_it_is():
    vcpu = amx_vcpu().vcpu(VCPU)
    assert taken(vcpu) is vcpu


def test_reading_the_mp_state_takes_it():
    step = get_state(latched(amx_vcpu()), VCPU, State.MP_STATE)
    assert step.rule is TAKE_INIT
    assert step.outcome.fields == {"mp_state": 0}
    assert not step.machine.vcpu(VCPU).init_pending


def test_control_registers_are_reset():
    vcpu = after(set_cr4(amx_vcpu(), VCPU, 1 << 9).machine)
    assert (vcpu.cr0, vcpu.cr4, vcpu.efer) == (CR0_RESET, 0, 0)


def test_cr0_keeps_caching():
    machine = amx_vcpu()
    machine = machine.with_vcpu(VCPU, machine.vcpu(VCPU)._replace(cr0=0x8001_0033))
    assert after(machine).cr0 == 0x10


def test_rdx_is_the_processors_signature():
    table = CpuidTable((CpuidEntry(1, 0, 0, 0x806F8, 0, 0, 0),))
    machine = set_cpuid2(machine_with_vcpu(AMX_HOST), VCPU, GuestCpuid.of(table)).machine
    assert known(after(machine), State.REGS)["rdx"] == 0x806F8
    assert known(after(machine_with_vcpu(AMX_HOST)), State.REGS)["rdx"] == 0x600


def test_debug_registers_are_reset():
    changed = {**RESET[State.DEBUGREGS], "db0": 7}
    machine = set_values(amx_vcpu(), VCPU, State.DEBUGREGS, changed).machine
    assert known(after(machine), State.DEBUGREGS) == RESET[State.DEBUGREGS]


def test_xcr0_and_xfd_and_user_state_are_kept():
    machine = set_xcr0(amx_vcpu(), VCPU, 7).machine
    machine = set_xsave(machine, VCPU, image(B2, {2: YMM})).machine
    machine = set_xfd(machine, VCPU, B18).machine
    vcpu = after(machine)
    assert (vcpu.xcr0, vcpu.xfd) == (7, B18)
    assert vcpu.fpstate.xstate_bv & B2
    assert vcpu.fpstate.contents[2] == YMM


def test_mpx_state_is_cleared():
    layout = Layout((*AMX_LAYOUT.components[:1], Component(3, 960, 64), *AMX_LAYOUT.components[1:]))
    host = replace(AMX_HOST, layout=layout, kvm_xcr0=AMX_HOST.kvm_xcr0 | 1 << 3 | 1 << 4)
    vcpu = latched(amx_vcpu()).vcpu(VCPU)
    fpstate = vcpu.fpstate._replace(
        xstate_bv=1 << 3, contents={3: bytes([1]) * 64}, user_xfeatures=host.kvm_xcr0
    )
    fpstate = taken(vcpu._replace(fpstate=fpstate)).fpstate
    assert not fpstate.xstate_bv & 1 << 3
    assert 3 not in fpstate.contents


def test_the_msrs_of_cet_state_are_cleared():
    # SDM vol.1 13.5.9 "CET State": U_CET and PL3_SSP; arch/x86/kvm/x86.c: kvm_xstate_reset.
    vcpu = latched(amx_vcpu()).vcpu(VCPU)
    msrs = {Msr.IA32_PAT: 6, Msr.IA32_U_CET: 1, Msr.IA32_PL3_SSP: 0x1000}
    assert taken(vcpu._replace(msrs=msrs)).msrs == {Msr.IA32_PAT: 6}


def test_registers_are_certain_again_after_the_guest_ran():
    ran = run_until_halt(amx_vcpu(), VCPU).machine
    assert known(ran.vcpu(VCPU), State.REGS) == {}
    assert known(after(ran), State.REGS)["rip"] == 0xFFF0


def test_reading_the_mp_state_leaves_the_fpu_state_alone():
    # arch/x86/kvm/x86.c: kvm_arch_vcpu_ioctl_get_mpstate loads it only where KVM offers MPX;
    # 6.17.8 and 7.3.4 do not save the caller's PKRU bit with it.
    machine = set_xsave(amx_vcpu(), VCPU, image(TILES)).machine
    vcpu = latched(machine).vcpu(VCPU)
    armed = vcpu._replace(fpstate=vcpu.fpstate._replace(xfd=B18))
    assert taken(armed).fpstate == armed.fpstate


@pytest.mark.parametrize(
    ("changes", "covered"),
    [
        ({}, True),
        ({"lapic": False}, False),
        ({"state": {State.MP_STATE: {"mp_state": 3}}}, False),
        ({"msrs": {Msr.IA32_PAT: 0}}, True),
        ({"msrs": {Msr.IA32_PL0_SSP: 0, Msr.IA32_U_CET: 1}}, True),
        ({"msrs": {Msr.IA32_S_CET: 0}}, False),
    ],
)
def test_which_vcpus_are_covered(changes, covered):
    vcpu = amx_vcpu().vcpu(VCPU)._replace(**{"lapic": True, **changes})
    assert (not cannot_latch(vcpu)) == covered


def test_an_out_is_completed_first():
    vcpu = amx_vcpu().vcpu(VCPU)._replace(entered=True)
    assert not cannot_take(AMX_HOST, vcpu)
    assert cannot_take(AMX_HOST, vcpu._replace(init_pending=True))


def test_whether_the_fpu_state_is_saved_is_not_known_with_mpx():
    host = replace(AMX_HOST, kvm_xcr0=AMX_HOST.kvm_xcr0 | 1 << 3 | 1 << 4)
    vcpu = amx_vcpu().vcpu(VCPU)._replace(init_pending=True)
    assert cannot_take(host, vcpu)
    assert not cannot_take(AMX_HOST, vcpu)
