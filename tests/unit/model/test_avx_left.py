"""SSE and AVX state in INIT that an AMD processor leaves as older bytes: freedom AVX_LEFT."""

import pytest

from kvmprobe.model.exported import images
from kvmprobe.model.fpstate import cycle_fpu
from kvmprobe.model.freedom import Freedom
from kvmprobe.model.outcome import Done, NotCovered, OneOf
from kvmprobe.model.uabi import get_xsave2, set_xsave
from kvmprobe.scenarios.catalog._guests import PLAIN, USE_XSAVE
from kvmprobe.scenarios.model_run import ModelRun
from kvmprobe.scenarios.ops.guest_control import GuestXgetbv
from kvmprobe.scenarios.ops.run import RunImmediateExit
from kvmprobe.scenarios.ops.xsave import SetXsave
from kvmprobe.xstate.image import decode
from tests.support.hosts import (
    AMD_HOST,
    AVX512_HOST,
    B0,
    B1,
    B2,
    VCPU,
    image,
    machine_with_vcpu,
    xstate_bv,
)

B6 = 1 << 6
XMM, YMM, ZMM = b"\x11" * 256, b"\x22" * 256, b"\x33" * 512


def given(bv, host=AMD_HOST, **fields):
    contents = {1: XMM, 2: YMM, 6: ZMM}
    return image(bv, contents, host=host, size=4096, **fields)


def ran(*bitmaps, host=AMD_HOST, mxcsr=0x1F80):
    """A vCPU that gets these images, and is run after each."""
    machine = machine_with_vcpu(host, cpuid_xcr0=0xE7)
    for bv in bitmaps:
        machine = set_xsave(machine, VCPU, given(bv, host, mxcsr=mxcsr)).machine
        vcpu = machine.vcpu(VCPU)
        fpstate = cycle_fpu(host, vcpu.fpstate)
        machine = machine.with_vcpu(VCPU, vcpu._replace(fpstate=fpstate))
    return machine


def shown(machine, nr):
    """What the legal images may say of a component: its bytes where its bit may be set."""
    host, vcpu = machine.host, machine.vcpu(VCPU)
    found = set()
    for expected in images(host, vcpu):
        bits = xstate_bv(expected.image)
        for place in expected.unspecified:
            bits |= int.from_bytes(place.bits, "little") if place.offset == 512 else 0
        if bits >> nr & 1:
            found.add(decode(expected.image, host.layout).contents.get(nr, bytes(256)))
    return found


@pytest.mark.parametrize(("nr", "older"), [(1, XMM), (2, YMM)])
def test_state_in_init_may_be_the_older_bytes_or_init_and_nothing_else(nr, older):
    assert shown(ran(B1 | B2, B6), nr) == {older, bytes(256)}


def test_avx_may_be_left_where_sse_is_in_use():
    assert shown(ran(B1 | B2, B1 | B6), 1) == {XMM}
    assert shown(ran(B1 | B2, B1 | B6), 2) == {YMM, bytes(256)}


@pytest.mark.parametrize("bv", [B0, 1 << 5, 1 << 7])
def test_without_zmm_hi256_in_use_init_is_init(bv):
    machine = ran(B1 | B2, bv)
    assert shown(machine, 1) | shown(machine, 2) == {bytes(256)}


def test_another_vendors_processor_leaves_nothing():
    machine = ran(B1 | B2, B6, host=AVX512_HOST)
    assert shown(machine, 1) | shown(machine, 2) == {bytes(256)}


def test_what_is_in_use_is_exact():
    assert shown(ran(B1 | B2, B1 | B2 | B6), 2) == {YMM}
    assert shown(ran(B1 | B2, B6), 6) == {ZMM}


def test_what_was_left_may_stay_until_it_is_set_again():
    machine = ran(B1 | B2, B6)
    vcpu = machine.vcpu(VCPU)
    again = machine.with_vcpu(VCPU, vcpu._replace(fpstate=cycle_fpu(AMD_HOST, vcpu.fpstate)))
    assert shown(again, 2) == {YMM, bytes(256)}
    cleared = set_xsave(again, VCPU, given(B0)).machine
    assert shown(cleared, 2) == set()


def test_mxcsr_comes_with_the_bytes_or_is_init():
    machine = ran(B1 | B2, B6, mxcsr=0x1FA0)
    found = {
        decode(expected.image, AMD_HOST.layout).mxcsr
        for expected in images(AMD_HOST, machine.vcpu(VCPU))
        if xstate_bv(expected.image) & B1
    }
    assert found == {0x1F80, 0x1FA0}


def test_a_read_names_the_freedom():
    outcome = get_xsave2(ran(B1 | B2, B6), VCPU).outcome
    assert isinstance(outcome, OneOf)
    assert outcome.freedom is Freedom.AVX_LEFT


def outcome_after(*ops):
    machine = ModelRun(AMD_HOST).start
    for op in (*PLAIN.ops, USE_XSAVE, *ops):
        step = op.step(machine)
        machine = step.machine
    return step.outcome


def test_guest_code_is_judged_unless_older_bytes_may_be_in_its_registers():
    left = (SetXsave(B1 | B2), SetXsave(B6), RunImmediateExit())
    assert isinstance(outcome_after(*left, GuestXgetbv(0)), NotCovered)
    assert isinstance(outcome_after(*left, SetXsave(B6), GuestXgetbv(0)), Done)
