"""x87 in a guest: SDM vol.1 §8.1, §8.4, §8.5."""

import struct
from functools import partial

import pytest

from kvmprobe.errors import NotModelled
from kvmprobe.model import guest_x87 as x87
from kvmprobe.model.uabi import set_xsave
from tests.support.guests import NM, NONE, in_payload, memory, run, step, vector
from tests.support.hosts import B0, VCPU, image

TS, EM = {"cr0": 0x8001_003B}, {"cr0": 0x8001_0037}
PI = struct.pack("<QH", 0xC90F_DAA2_2168_C235, 0x4000)
ONE = struct.pack("<QH", 1 << 63, 0x3FFF)

X87 = {
    "fnop": x87.fnop,
    "fninit": x87.fninit,
    "fnstcw": x87.fnstcw,
    "fld1": x87.fld1,
    "fstp": x87.fstp,
    "fldcw": partial(x87.fldcw, value=0x27F),
}
each_x87 = pytest.mark.parametrize("instruction", X87.values(), ids=X87)


@each_x87
@pytest.mark.parametrize("fields", [TS, EM], ids=["ts", "em"])
def test_x87_under_ts_or_em_is_nm(instruction, fields):
    assert vector(in_payload(**fields), instruction) == NM


def test_fwait_heeds_ts_with_mp_alone():
    # SDM vol.3 table 2-2: MP=1, TS=1
    heeds = [vector(in_payload(cr0=cr0), x87.fwait) for cr0 in (0x8001_003B, 0x8001_0039)]
    assert heeds == [NM, NONE]


PENDING = [
    (x87.fld1, 0x37E, 0x81, "an unmasked exception with ES"),
    (x87.fwait, 0x37F, 0x80, "ES alone"),
    (partial(x87.fldcw, value=0x37E), 0x37F, 0x01, "FLDCW unmasks what is flagged"),
    (x87.fstp, 0x37E, 0, "a stack fault that is not masked"),
]


@pytest.mark.parametrize(("instruction", "control", "status", "_why"), PENDING)
def test_an_x87_exception_that_is_not_masked_is_not_modelled(instruction, control, status, _why):
    content = struct.pack("<HH", control, status) + bytes(156)
    state = in_payload()
    loaded = run(state, lambda guest: guest.with_state({0: content}))
    with pytest.raises(NotModelled):
        run(loaded, instruction)


def test_the_control_word_is_loaded_with_bit_6_set():
    machine = run(in_payload(), partial(x87.fldcw, value=0x23F))
    assert memory(machine, x87.fnstcw) == struct.pack("<H", 0x27F)


@pytest.mark.parametrize("top", range(8))
def test_fninit_leaves_each_register_where_it_is(top):
    # SDM vol.1 §8.1.2: ST(i) is register TOP + i; table 10-2: the area has ST(0) first
    registers = b"".join(bytes([nr] * 10) + bytes(6) for nr in range(8))
    stack = b"".join(registers[16 * ((top + i) % 8) :][:16] for i in range(8))
    content = b"\x7f\x03" + struct.pack("<HB", top << 11, 0xFF) + bytes(19) + stack
    machine = set_xsave(in_payload(), VCPU, image(B0, {0: content})).machine
    assert run(machine, x87.fninit).vcpu(VCPU).fpstate.contents[0][24:] == registers


def test_reserved_bits_of_the_control_word_that_the_host_set_may_be_0():
    # SDM vol.1 §8.1.5: FCW bits 7 and 13 to 15 are reserved, and bit 6 is 1
    content = b"\xff\xff" + bytes(150)
    machine = set_xsave(in_payload(), VCPU, image(B0, {0: content})).machine
    shown = step(machine, x87.fnstcw).outcome.memory
    assert shown.content == b"\xff\xff"
    assert [(place.offset, place.bits) for place in shown.unspecified] == [(0, b"\xc0\xe0")]


def test_what_was_pushed_is_popped_last_first():
    machine = run(in_payload(), partial(x87.fld, value=PI), x87.fld1)
    assert memory(machine, x87.fstp) == ONE
    assert memory(run(machine, x87.fstp), x87.fstp) == PI


@pytest.mark.parametrize(("pushes", "status"), [(0, 0), (1, 7 << 11), (3, 5 << 11)])
def test_top_goes_down_with_each_push(pushes, status):
    # SDM vol.1 §8.1.3: TOP is bits 13:11 of the status word
    machine = run(in_payload(), *[x87.fld1] * pushes)
    assert memory(machine, x87.fnstsw) == struct.pack("<H", status)


def test_popping_an_empty_stack_gives_the_indefinite():
    # SDM vol.1 §8.5.1.1: IE and SF set, C1 clear; TOP is 1 afterwards
    machine = in_payload()
    assert memory(machine, x87.fstp) == struct.pack("<QH", 0xC000 << 48, 0xFFFF)
    assert memory(run(machine, x87.fstp), x87.fnstsw) == struct.pack("<H", 0x0841)


def test_pushing_onto_a_full_stack_gives_it_too():
    # IE, SF and C1; the ninth push leaves TOP at 7
    machine = run(in_payload(), *[x87.fld1] * 9)
    assert memory(machine, x87.fnstsw) == struct.pack("<H", 0x3A41)


def test_fnclex_clears_the_flags():
    machine = run(in_payload(), *[x87.fld1] * 9, x87.fnclex)
    assert memory(machine, x87.fnstsw) == struct.pack("<H", 0x3A00)


def test_fninit_empties_the_stack_and_keeps_the_registers():
    content = b"\x7f\x02\x00\x00\xff" + bytes(19) + b"\x11" * 128
    machine = set_xsave(in_payload(), VCPU, image(B0, {0: content})).machine
    held = run(machine, x87.fninit).vcpu(VCPU).fpstate.contents[0]
    assert held == b"\x7f\x03" + bytes(22) + b"\x11" * 128


def test_fnop_leaves_open_where_the_last_instruction_was():
    outcome = step(run(in_payload(), x87.fnop), x87.fnstcw).outcome
    assert outcome.memory.content == b"\x7f\x03"
