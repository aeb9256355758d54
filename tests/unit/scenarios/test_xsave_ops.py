"""What the ops of XSAVE images and of struct kvm_fpu ask the kernel."""

import pytest

from kvmprobe.scenarios.calls import Immediate, Literal, LiteralAtPageEnd, Output, OutputAtPageEnd
from kvmprobe.scenarios.ops.fpu import (
    FpuContent,
    GetFpu,
    GetFpuAtPageEnd,
    SetFpu,
    SetFpuAtPageEnd,
    fpu_area,
)
from kvmprobe.scenarios.ops.xsave import (
    GetXsave,
    GetXsave2AtPageEnd,
    GetXsaveAtPageEnd,
    SetXsave,
    SetXsaveAtPageEnd,
    SetXsaveImage,
)
from kvmprobe.xstate.malformations import Malformation
from tests.support.hosts import AMX_HOST, AVX512_HOST, mxcsr, xstate_bv


def argument(op, host=AMX_HOST):
    return op.lower(host).argument


@pytest.mark.parametrize(
    ("op", "number"),
    # kernel contract section 2
    [
        (GetXsave(), 0x9000AEA4),
        (GetXsaveAtPageEnd(1), 0x9000AEA4),
        (GetXsave2AtPageEnd(1), 0x9000AECF),
        (SetXsaveImage(0), 0x5000AEA5),
        (SetXsaveAtPageEnd(0, 1), 0x5000AEA5),
        (GetFpu(), 0x81A0AE8C),
        (SetFpu(FpuContent.INIT), 0x41A0AE8D),
    ],
    ids=lambda value: value.name if hasattr(value, "name") else hex(value),
)
def test_the_call_is_the_contracts(op, number):
    assert op.lower(AMX_HOST).number == number


def test_an_image_without_a_malformation_is_that_of_set_xsave():
    assert SetXsaveImage(0x602E7).image(AMX_HOST) == SetXsave(0x602E7).image(AMX_HOST)


def test_an_odd_image_is_odd():
    given = argument(SetXsaveImage(0x7, Malformation.MXCSR, 0x1_1F80)).content
    assert (xstate_bv(given), mxcsr(given), len(given)) == (0x7, 0x1_1F80, 11008)


def test_components_without_a_place_are_asked_for_all_the_same():
    assert xstate_bv(argument(SetXsaveImage(1 << 63 | 1 << 18), AVX512_HOST).content) == 1 << 63 | (
        1 << 18
    )


def test_a_malformation_can_be_given_by_its_text():
    assert SetXsaveImage(0, "padding", 0) == SetXsaveImage(0, Malformation.PADDING, 0)


def test_the_old_call_has_room_for_more_than_it_may_write():
    assert argument(GetXsave()) == Output(4096 + 64)


@pytest.mark.parametrize("op_class", [GetXsave2AtPageEnd, GetXsaveAtPageEnd, GetFpuAtPageEnd])
def test_an_output_ends_with_its_page(op_class):
    assert argument(op_class(415)) == OutputAtPageEnd(415)


def test_an_image_ends_with_its_page():
    given = argument(SetXsaveAtPageEnd(0x7, 4095))
    assert given == LiteralAtPageEnd(SetXsave(0x7).image(AMX_HOST)[:4095])


def test_a_structure_ends_with_its_page():
    assert argument(SetFpuAtPageEnd(415)) == LiteralAtPageEnd(
        fpu_area(FpuContent.FIRST, AMX_HOST)[:415]
    )


@pytest.mark.parametrize(
    "op",
    [
        GetXsave2AtPageEnd(0),
        GetXsaveAtPageEnd(0),
        SetXsaveAtPageEnd(0, 0),
        GetFpuAtPageEnd(0),
        SetFpuAtPageEnd(0),
    ],
    ids=lambda op: op.name,
)
def test_no_bytes_are_a_null_pointer(op):
    assert argument(op) == Immediate(0)


@pytest.mark.parametrize("content", FpuContent)
def test_kvm_fpu_has_416_bytes(content):
    given = argument(SetFpu(content))
    assert isinstance(given, Literal)
    assert len(given.content) == 416


def test_garbage_is_in_padding_and_mxcsr_alone():
    first, garbage = (fpu_area(c, AMX_HOST) for c in (FpuContent.FIRST, FpuContent.GARBAGE))
    changed = {offset for offset in range(416) if first[offset] != garbage[offset]}
    # struct kvm_fpu: 6 bytes behind each ST register, pad1 at 133, mxcsr and pad2 from 408
    registers = {16 * st + byte for st in range(8) for byte in range(10, 16)}
    assert changed == registers | {133} | set(range(408, 416))


@pytest.mark.parametrize(
    ("op", "text"),
    [
        (SetXsaveImage(0x7), "KVM_SET_XSAVE XSTATE_BV=0x7 (FP|SSE|YMM)"),
        (SetXsaveImage(0, Malformation.RESERVED, 3), "KVM_SET_XSAVE XSTATE_BV=0, reserved 0x3"),
        (GetXsave2AtPageEnd(4095), "KVM_GET_XSAVE2 into 4095 bytes"),
        (SetFpu(FpuContent.SECOND), "KVM_SET_FPU second"),
    ],
    ids=str,
)
def test_text_tells_what_is_odd(op, text):
    assert op.text == text
