"""Which images count as the same after a load and a save of the guest's FPU state."""

import struct

import pytest

from kvmprobe.checkers.normal import normal_image
from kvmprobe.xstate.features import XFeature
from kvmprobe.xstate.image import MXCSR_INIT
from kvmprobe.xstate.layout import MXCSR, XSTATE_BV
from tests.support.hosts import AMD_HOST, AMX_HOST

SSE, YMM = XFeature.SSE.bit, XFeature.YMM.bit
LAYOUT = AMX_HOST.layout
EARLIER = 0x20000


def image(xstate_bv, mxcsr, ymm=b"\1"):
    made = bytearray(4096)
    struct.pack_into("<I", made, MXCSR.start, mxcsr)
    struct.pack_into("<Q", made, XSTATE_BV.start, xstate_bv)
    place = LAYOUT.component(XFeature.YMM).offset
    made[place : place + len(ymm)] = ymm
    return bytes(made)


def same(first, second, host=AMX_HOST):
    one, other = normal_image(first, second, host)
    return one == other


# SDM vol.1 §13.11: XSAVES writes MXCSR if it saves SSE; XRSTORS of an image without SSE gives INIT.
@pytest.mark.parametrize("bits", [0, YMM])
def test_mxcsr_without_sse_is_left_over(bits):
    assert same(image(bits, EARLIER), image(bits, MXCSR_INIT))


@pytest.mark.parametrize("bits", [0, YMM])
def test_mxcsr_that_is_lost_with_the_bit_of_sse_is_seen(bits):
    assert not same(image(bits | SSE, EARLIER), image(bits, MXCSR_INIT))


def test_mxcsr_with_sse_is_compared():
    assert not same(image(SSE, EARLIER), image(SSE, MXCSR_INIT))


def test_the_bit_of_sse_in_its_init_state_may_be_set_or_clear():
    assert same(image(YMM | SSE, MXCSR_INIT), image(YMM, EARLIER))


# SDM vol.1 §10.5.1 "FXSAVE Area": byte 5 is reserved; §8.1.5 "x87 FPU Control Word": so are bits 7,
# 13 to 15, and bit 6 reads as 1.
@pytest.mark.parametrize(("offset", "value"), [(5, b"\xee"), (0, b"\x80\xe0"), (0, b"\x40")])
def test_reserved_bits_of_the_x87_environment_may_be_lost(offset, value):
    made = bytearray(image(1, MXCSR_INIT))
    made[offset : offset + len(value)] = value
    assert same(bytes(made), image(1, MXCSR_INIT))


def test_a_rounding_that_is_lost_is_seen():
    made = bytearray(image(1, MXCSR_INIT))
    made[1] = 0x0C
    assert not same(bytes(made), image(1, MXCSR_INIT))


def test_a_component_that_is_lost_is_seen():
    assert not same(image(YMM, MXCSR_INIT), image(0, MXCSR_INIT))


def test_what_an_amd_processor_may_have_left_is_no_difference():
    # Freedom AVX_LEFT: older bytes in place of INIT.
    assert same(image(YMM, MXCSR_INIT), image(0, MXCSR_INIT), AMD_HOST)


def test_two_values_that_are_not_init_are_a_difference_on_amd():
    assert not same(image(YMM, MXCSR_INIT), image(YMM, MXCSR_INIT, ymm=b"\2"), AMD_HOST)
