"""Structures of the bindings: offsets by asm/kvm.h, counted by hand."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvmprobe.bindings import Clock, DebugRegs, Fpu, Regs, Sregs, Sregs2, Translation, VcpuEvents
from kvmprobe.errors import LayoutError

EVERY = [Regs, Sregs, Sregs2, DebugRegs, Fpu, VcpuEvents, Translation, Clock]
each = pytest.mark.parametrize("cls", EVERY, ids=lambda c: c.__name__)


@each
def test_it_decodes_what_it_encodes(cls):
    assert cls.from_bytes(cls().to_bytes()) == cls()


@each
@given(data=st.data())
def test_decoded_fields_encode_to_the_same_fields(cls, data):
    content = data.draw(st.binary(min_size=cls.size(), max_size=cls.size()))
    decoded = cls.from_bytes(content)
    assert cls.from_bytes(decoded.to_bytes()) == decoded


@each
def test_too_few_bytes_are_refused(cls):
    with pytest.raises(LayoutError, match=f"takes {cls.size()} bytes, not {cls.size() - 1}"):
        cls.from_bytes(bytes(cls.size() - 1))


def test_rip_is_the_seventeenth_of_the_registers():
    assert struct.unpack_from("<Q", Regs(rip=0x1234).to_bytes(), 16 * 8) == (0x1234,)


def test_the_base_of_cs_comes_first():
    sregs = Sregs()
    sregs.cs.base = 0x1234
    assert struct.unpack_from("<Q", sregs.to_bytes()) == (0x1234,)


def test_cr4_comes_after_eight_segments_two_tables_and_four_registers():
    # 24 bytes a segment, 16 a table; cr0, cr2, cr3 are before it
    assert struct.unpack_from("<Q", Sregs(cr4=0x20).to_bytes(), 8 * 24 + 2 * 16 + 24) == (0x20,)


def test_the_second_xmm_register_is_at_its_place():
    # fpr 128; fcw, fsw, ftwx, pad1, last_opcode 8; last_ip, last_dp 16
    fpu = Fpu(xmm=(bytes(16), b"0123456789abcdef") + (bytes(16),) * 14)
    assert fpu.to_bytes()[152 + 16 : 152 + 32] == b"0123456789abcdef"


def test_a_fresh_fpu_has_the_initial_control_word():
    # SDM vol.1 8.1.5: FNINIT sets it to 37FH
    assert Fpu().fcw == 0x37F


@pytest.mark.parametrize("value", [-1, 1 << 64])
def test_a_number_that_does_not_fit_is_refused(value):
    with pytest.raises(LayoutError, match="struct kvm_regs: rax"):
        Regs(rax=value).to_bytes()


def test_more_elements_than_there_are_are_refused():
    with pytest.raises(LayoutError, match="struct kvm_debugregs: db"):
        DebugRegs(db=(0,) * 5).to_bytes()


def test_what_is_read_can_be_changed_without_changing_another():
    first, second = Sregs(), Sregs()
    first.cs.base = 1
    assert second.cs.base == 0
