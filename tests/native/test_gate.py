"""Which calls the executor treats as fatal, by the last read-back; no call is made."""

from __future__ import annotations

import struct

import pytest

from kvmprobe.abi import fpu_loads, ioctls
from kvmprobe.abi.numbers import Msr
from kvmprobe.native._ffi import ffi, lib
from kvmprobe.xstate.features import XFeature

TILES = 1 << XFeature.XTILE_DATA
OTHER_MSR = 0x174


def msrs(*entries):
    head = struct.pack("=II", len(entries), 0)
    return head + b"".join(struct.pack("=IIQ", index, 0, data) for index, data in entries)


def is_fatal(request, content=b"", xstate_bv=TILES, xfd=TILES):
    given = ffi.from_buffer("uint8_t[]", content)
    return bool(lib.kvmprobe_load_is_fatal(xstate_bv, xfd, request.number, given, len(content)))


@pytest.mark.parametrize(
    ("xstate_bv", "xfd", "fatal"),
    [(TILES, TILES, True), (TILES, 0, False), (0, TILES, False), (0x7, TILES, False)],
)
def test_running_a_vcpu_is_fatal_if_xfd_disables_a_component_of_its_fpstate(xstate_bv, xfd, fatal):
    assert is_fatal(ioctls.RUN, b"", xstate_bv, xfd) == fatal


@pytest.mark.parametrize("index", fpu_loads.LOADING_MSRS)
@pytest.mark.parametrize("request_", [ioctls.GET_MSRS, ioctls.SET_MSRS], ids=lambda r: r.name)
def test_a_list_with_an_msr_of_the_xstate_is_fatal(request_, index):
    assert is_fatal(request_, msrs((OTHER_MSR, 0), (index, 0)))


@pytest.mark.parametrize("index", fpu_loads.LOADING_MSRS)
@pytest.mark.parametrize("request_", [ioctls.GET_ONE_REG, ioctls.SET_ONE_REG], ids=lambda r: r.name)
def test_one_register_of_the_xstate_is_fatal(request_, index):
    # The upper half of the id is architecture, size and type: arch/x86/include/uapi/asm/kvm.h
    assert is_fatal(request_, struct.pack("=QQ", 0x2030_0002 << 32 | index, 0))


def test_other_msrs_are_harmless():
    assert not is_fatal(ioctls.SET_MSRS, msrs((OTHER_MSR, 0), (Msr.IA32_XFD, TILES)))


def test_a_list_that_arms_xfd_and_then_touches_cet_is_fatal():
    armed = msrs((Msr.IA32_XFD, TILES), (Msr.IA32_U_CET, 0))
    assert is_fatal(ioctls.SET_MSRS, armed, xfd=0)


def test_a_list_that_touches_cet_and_then_arms_xfd_is_not_fatal():
    armed = msrs((Msr.IA32_U_CET, 0), (Msr.IA32_XFD, TILES))
    assert not is_fatal(ioctls.SET_MSRS, armed, xfd=0)


def test_a_list_that_disarms_xfd_first_is_not_fatal():
    disarmed = msrs((Msr.IA32_XFD, 0), (Msr.IA32_U_CET, 0))
    assert not is_fatal(ioctls.SET_MSRS, disarmed)


def test_reading_xfd_arms_nothing():
    assert not is_fatal(ioctls.GET_MSRS, msrs((Msr.IA32_XFD, TILES), (Msr.IA32_U_CET, 0)), xfd=0)


@pytest.mark.parametrize("request_", [ioctls.SET_MSRS, ioctls.SET_ONE_REG], ids=lambda r: r.name)
def test_an_argument_that_is_too_short_is_not_fatal(request_):
    assert not is_fatal(request_, b"\0" * 8)
