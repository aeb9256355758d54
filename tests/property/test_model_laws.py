"""What holds after any sequence of ops, on a correct kernel."""

from __future__ import annotations

from operator import attrgetter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from kvmprobe.model import (
    cpuid,
    fpu,
    guest_cpuid,
    lifecycle,
    msr,
    permission,
    run,
    sregs,
    uabi,
    xcr,
)
from kvmprobe.model.behaviours import Behaviour
from kvmprobe.model.machine import GuestCpuid, Machine
from kvmprobe.model.outcome import Done, Failed, HostDies, OneOf
from kvmprobe.xstate.fpu_area import to_area
from tests.property.strategies import bitmaps, likely_bitmaps
from tests.support.hosts import (
    AMX_HOST,
    AVX512_HOST,
    TABLE,
    VCPU,
    amx_vcpu,
    image,
    with_behaviours,
    xstate_bv,
)

values = st.one_of(likely_bitmaps, bitmaps)


class Process(RuleBasedStateMachine):
    """One process that does anything in any order."""

    host = AMX_HOST

    def __init__(self):
        super().__init__()
        self.machine = Machine.fresh(self.host)
        self.permissions = [self.machine.guest_perm]
        self.locked_with = None

    def take(self, step):
        refused = isinstance(step.outcome, Failed) and step.rule is not run.RUN_IMMEDIATE_EXIT
        not_processed = isinstance(step.outcome, Done) and step.outcome.value == 0
        if refused or (not_processed and step.rule in {msr.SET_XFD, msr.SET_XFD_ERR}):
            assert step.machine == self.machine
        assert not isinstance(step.outcome, HostDies)
        self.machine = step.machine
        self.permissions.append(self.machine.guest_perm)

    @property
    def has_vcpu(self):
        return VCPU in self.machine.vcpus

    @property
    def vcpu(self):
        return self.machine.vcpu(VCPU)

    @rule(nr=st.sampled_from([0, 9, 17, 18, 19, 20, 64]))
    def request_permission(self, nr):
        self.take(permission.request_guest_permission(self.machine, nr))

    @precondition(lambda self: not self.has_vcpu)
    @rule()
    def create_vcpu(self):
        self.take(lifecycle.create_vcpu(self.machine, VCPU))
        self.locked_with = self.machine.guest_perm

    @rule()
    def fetch_supported_cpuid(self):
        self.take(cpuid.get_supported(self.machine, TABLE))

    @rule(xcr0=values)
    def make_a_table(self, xcr0):
        captured = {**self.machine.captured, TABLE: GuestCpuid(xcr0)}
        self.machine = self.machine._replace(captured=captured)

    @precondition(lambda self: self.has_vcpu and TABLE in self.machine.captured)
    @rule()
    def set_cpuid(self):
        self.take(guest_cpuid.set_cpuid2(self.machine, VCPU, self.machine.captured[TABLE]))

    @precondition(lambda self: self.has_vcpu)
    @rule(value=values)
    def set_xcr0(self, value):
        before = self.vcpu
        self.take(xcr.set_xcr0(self.machine, VCPU, value))
        assert self.vcpu._replace(xcr0=before.xcr0) == before

    @precondition(lambda self: self.has_vcpu)
    @rule(value=st.one_of(st.sampled_from([0, 1 << 18]), values))
    def set_xfd(self, value):
        self.take(msr.set_xfd(self.machine, VCPU, value))

    @precondition(lambda self: self.has_vcpu)
    @rule(value=st.one_of(st.sampled_from([0, 1 << 18]), values))
    def set_xfd_err(self, value):
        self.take(msr.set_xfd_err(self.machine, VCPU, value))

    @precondition(lambda self: self.has_vcpu)
    @rule(
        bv=values,
        xcomp_bv=st.sampled_from([0, 0, 0, 1 << 63]),
        mxcsr=st.sampled_from([0x1F80, 0x1FA0, 0x1_1F80]),
        fill=st.binary(min_size=1, max_size=1),
    )
    def set_xsave(self, bv, xcomp_bv, mxcsr, fill):
        contents = {c.nr: fill * c.size for c in self.host.layout.components}
        given_image = image(bv, contents, host=self.host, xcomp_bv=xcomp_bv, mxcsr=mxcsr)
        self.take(uabi.set_xsave(self.machine, VCPU, given_image))

    @precondition(lambda self: self.has_vcpu)
    @rule(fill=st.binary(min_size=1, max_size=1))
    def set_fpu(self, fill):
        self.take(fpu.set_fpu(self.machine, VCPU, fill * 416))

    @precondition(lambda self: self.has_vcpu)
    @rule(immediate=st.booleans())
    def enter_the_guest(self, immediate):
        enter = run.run_immediate_exit if immediate else run.run_until_halt
        before = self.vcpu
        self.take(enter(self.machine, VCPU))
        kept = attrgetter("xcr0", "xfd", "xfd_err", "pkru", "cpuid", "fpstate.uabi_size")
        assert kept(self.vcpu) == kept(before)

    def exported(self):
        outcome = uabi.get_xsave2(self.machine, VCPU).outcome
        return outcome.choices if isinstance(outcome, OneOf) else (outcome,)

    @invariant()
    def both_views_of_x87_and_sse_agree(self):
        # known-bugs O2 is that they do not.
        if self.has_vcpu:
            images = {choice.image.image for choice in self.exported()}
            outcome = fpu.get_fpu(self.machine, VCPU).outcome
            areas = outcome.choices if isinstance(outcome, OneOf) else (outcome,)
            legacy = {to_area(image[:24] + image[32:160], image[160:416]) for image in images}
            assert {area.memory.content for area in areas} == legacy

    @invariant()
    def permission_only_grows(self):
        # contract section 1: "there is no release option"
        before, after = self.permissions[-2:] if len(self.permissions) > 1 else (0, 0)
        assert not before & ~after

    @invariant()
    def permission_is_frozen_by_the_first_vcpu(self):
        # INV-4
        assert self.locked_with in {None, self.machine.guest_perm}

    @invariant()
    def no_armed_component_is_in_xstate_bv(self):
        # INV-29
        if self.has_vcpu:
            assert (
                not (self.vcpu.fpstate.xstate_bv | self.vcpu.fpstate.xstate_bv_open) & self.vcpu.xfd
            )

    @invariant()
    def xfd_has_only_dynamic_components(self):
        # INV-25
        if self.has_vcpu:
            assert not (self.vcpu.xfd | self.vcpu.xfd_err) & ~(1 << 18)

    @invariant()
    def the_image_has_only_what_the_guest_has(self):
        # INV-17
        if self.has_vcpu:
            allowed = self.vcpu.guest_xcr0 | 3
            for choice in self.exported():
                open_bits = [u.bits for u in choice.image.unspecified if u.offset == 512]
                may_be = sum(int.from_bytes(bits, "little") for bits in open_bits)
                assert not (xstate_bv(choice.image.image) | may_be) & ~allowed

    @invariant()
    def the_image_is_4096_bytes_or_has_room_for_tiles(self):
        # INV-13, INV-14
        if self.has_vcpu:
            enabled = self.vcpu.fpstate.user_xfeatures >> 18 & 1
            size = 11008 if enabled else 4096
            assert {len(choice.image.image) for choice in self.exported()} == {size}

    @invariant()
    def tiles_take_permission(self):
        # INV-11
        if self.has_vcpu and self.vcpu.fpstate.user_xfeatures >> 18 & 1:
            assert self.machine.guest_perm >> 18 & 1

    @invariant()
    def the_fixed_zeros_of_the_image_are_zero(self):
        # INV-16: bytes 416..463, 472..511, 520..575
        if self.has_vcpu:
            for choice in self.exported():
                got = choice.image.image
                assert not any(got[416:464] + got[472:512] + got[520:576])


class ProcessOfAnApxKernel(Process):
    """The same under a legal variant."""

    host = with_behaviours(AMX_HOST, Behaviour.KNOWS_APX)


class ProcessWithoutAmx(Process):
    """The same on a host without tiles."""

    host = AVX512_HOST

    @invariant()
    def the_image_is_4096_bytes_or_has_room_for_tiles(self):
        if self.has_vcpu:
            assert {len(choice.image.image) for choice in self.exported()} == {4096}


LIMITS = settings(max_examples=60, stateful_step_count=25, deadline=None)
for machine in (Process, ProcessOfAnApxKernel, ProcessWithoutAmx):
    machine.TestCase.settings = LIMITS
TestProcess = Process.TestCase
TestProcessOfAnApxKernel = ProcessOfAnApxKernel.TestCase
TestProcessWithoutAmx = ProcessWithoutAmx.TestCase


def components(*allowed):
    return st.sets(st.sampled_from(allowed)).map(lambda bits: sum(1 << b for b in bits))


@settings(deadline=None)
@given(bv=components(0, 1, 2, 5, 6, 7, 9, 17, 18), data=st.data())
def test_what_was_set_is_read_back(bv, data):
    # INV-20, with PKRU's low 32 bits and MXCSR by INV-21 aside
    machine = amx_vcpu()
    sizes = {0: 152, 1: 256} | {c.nr: c.size for c in AMX_HOST.layout.components}
    fills = {nr: data.draw(st.binary(min_size=1, max_size=1)) for nr in sizes}
    contents = {nr: fills[nr] * size for nr, size in sizes.items() if bv >> nr & 1 and nr != 9}
    stored = uabi.set_xsave(machine, VCPU, image(bv, contents, mxcsr=0x1FA0)).machine
    read = uabi.get_xsave2(stored, VCPU).outcome.image.image
    fcw = {0: b"\x7f\x03" + bytes(150)}
    mxcsr = 0x1FA0 if bv & 0x6 else 0x1F80
    assert read == image(bv, fcw | contents, mxcsr=mxcsr, software_word=0x602E7)


@settings(deadline=None)
@given(bv=components(0, 1, 2, 5, 6, 7, 9, 17, 18))
def test_setting_what_was_read_changes_nothing_that_is_read(bv):
    contents = {c.nr: b"\x11" * c.size for c in AMX_HOST.layout.components if c.nr != 9}
    stored = uabi.set_xsave(amx_vcpu(), VCPU, image(bv, contents)).machine
    read = uabi.get_xsave2(stored, VCPU).outcome.image.image
    again = uabi.set_xsave(stored, VCPU, read).machine
    assert uabi.get_xsave2(again, VCPU).outcome.image.image == read


@given(value=bitmaps, guest=bitmaps)
def test_a_legal_xcr0_is_within_the_guests_cpuid(value, guest):
    assert not xcr.legal_xcr0(value, guest) or not value & ~(guest | 1)


@given(value=bitmaps, guest=bitmaps, more=bitmaps)
def test_more_in_cpuid_makes_no_xcr0_illegal(value, guest, more):
    assert xcr.legal_xcr0(value, guest | more) or not xcr.legal_xcr0(value, guest)


SETTERS = {
    "xcrs": lambda m: xcr.set_xcr0(m, VCPU, 0x60007).machine,
    "xfd-zero": lambda m: msr.set_xfd(m, VCPU, 0).machine,
    "xfd-err": lambda m: msr.set_xfd_err(m, VCPU, 1 << 18).machine,
    "xsave": lambda m: uabi.set_xsave(m, VCPU, image(0x602E7)).machine,
    "sregs": lambda m: sregs.set_cr4(m, VCPU, 1 << 18).machine,
    "xss-zero": lambda m: msr.set_msrs(m, VCPU, [(0xDA0, 0), (0x277, 0)]).machine,
}


@pytest.mark.parametrize("first", SETTERS)
@pytest.mark.parametrize("second", SETTERS)
def test_restore_calls_commute(first, second):
    # INV-37: X commutes with F and A; F here leaves XFD disarmed.
    start = amx_vcpu()
    one = SETTERS[second](SETTERS[first](start))
    other = SETTERS[first](SETTERS[second](start))
    assert one == other


@pytest.mark.parametrize("first", ["xfd", "xsave"])
def test_arming_and_restoring_commute(first):
    # INV-29: on a correct kernel both orders end without tile data; known-bugs B1 and O1 are this.
    def arm(machine):
        return msr.set_xfd(machine, VCPU, 1 << 18).machine

    def restore(machine):
        return uabi.set_xsave(machine, VCPU, image(0x60000, {17: b"\1" * 64})).machine

    machine = restore(arm(amx_vcpu())) if first == "xfd" else arm(restore(amx_vcpu()))
    read = uabi.get_xsave2(machine, VCPU).outcome.image.image
    expected = image(0x20000, {0: b"\x7f\x03" + bytes(150), 17: b"\1" * 64}, software_word=0x602E7)
    assert read == expected
