"""``struct kvm_fpu`` of asm/kvm.h, whose layout the build compares."""

import pytest

from kvmprobe.abi.ioctls import KVM_FPU
from kvmprobe.xstate import fpu_area
from kvmprobe.xstate.fpu_area import from_area, to_area

# SDM vol.1 table 10-2: FCW 0, FSW 2, FTW 4, reserved 5, FOP 6, FIP 8, FDP 16, then ST0 to ST7.
FP = b"\x01\x02\x03\x04\x05\xee\x07\x08" + bytes(range(9, 25)) + bytes(range(128))
SSE = bytes(range(256))
FIELDS = {"fcw": 0, "fsw": 2, "ftwx": 4, "last_opcode": 6, "last_ip": 8, "last_dp": 16}


def test_its_size_is_the_headers():
    assert KVM_FPU.size == fpu_area.FPU_SIZE


@pytest.mark.parametrize(
    ("place", "field"),
    [
        (fpu_area.REGISTERS, "fpr"),
        (fpu_area.FCW, "fcw"),
        (fpu_area.PADDING, "pad1"),
        (fpu_area.POINTERS, "last_opcode"),
        (fpu_area.XMM, "xmm"),
        (fpu_area.MXCSR, "mxcsr"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_places_are_the_headers(place, field):
    assert place.start == KVM_FPU.offset(field)


@pytest.mark.parametrize("field", FIELDS)
def test_each_field_of_the_environment_is_at_its_place(field):
    offset = KVM_FPU.offset(field)
    assert to_area(FP, SSE)[offset] == FP[FIELDS[field]]


def test_registers_are_at_their_places():
    area = to_area(FP, SSE)
    assert (area[:128], area[152:408]) == (FP[24:], SSE)


def test_padding_and_mxcsr_are_zero():
    area = to_area(FP, SSE)
    assert (area[133], area[408:]) == (0, bytes(8))


def test_contents_come_back_but_for_the_reserved_byte():
    assert from_area(to_area(FP, SSE)) == (FP[:5] + b"\0" + FP[6:], SSE)


def test_padding_and_mxcsr_of_a_given_structure_say_nothing():
    dirty = bytearray(to_area(FP, SSE))
    dirty[133] = 0xEE
    dirty[408:] = b"\xee" * 8
    assert from_area(bytes(dirty)) == from_area(to_area(FP, SSE))
