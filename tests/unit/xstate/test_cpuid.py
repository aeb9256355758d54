"""``struct kvm_cpuid_entry2``: function, index, flags, eax, ebx, ecx, edx, 12 bytes of padding."""

import struct

import pytest

from kvmprobe.errors import LayoutError
from kvmprobe.xstate.cpuid import CpuidEntry, CpuidTable


def raw(*entries):
    packed = b"".join(struct.pack("<7I12x", *entry) for entry in entries)
    return struct.pack("<II", len(entries), 0) + packed


LEAF_D = (0xD, 0, 1, 0x602E7, 2816, 11008, 0)
LEAF_D1 = (0xD, 1, 1, 0x1F, 2432, 0x1800, 0)


def test_entries_decode_in_order():
    table = CpuidTable.from_bytes(raw(LEAF_D, LEAF_D1))
    assert table.entries == (CpuidEntry(*LEAF_D), CpuidEntry(*LEAF_D1))


def test_bytes_beyond_the_last_entry_are_ignored():
    assert len(CpuidTable.from_bytes(raw(LEAF_D) + b"\xa5" * 400).entries) == 1


def test_encoding_gives_the_same_bytes():
    assert CpuidTable.from_bytes(raw(LEAF_D, LEAF_D1)).to_bytes() == raw(LEAF_D, LEAF_D1)


def test_a_cut_off_table_is_refused():
    with pytest.raises(LayoutError, match="cannot hold 1 entries"):
        CpuidTable.from_bytes(raw(LEAF_D)[:-1])


def test_a_table_without_header_is_refused():
    with pytest.raises(LayoutError, match="no header"):
        CpuidTable.from_bytes(bytes(7))


def test_xcr0_is_edx_eax_of_leaf_d():
    high = (0xD, 0, 1, 0x7, 0, 0, 0x4000_0000)
    assert CpuidTable.from_bytes(raw(high)).xcr0 == 0x4000_0000_0000_0007


def test_xss_is_edx_ecx_of_subleaf_1():
    assert CpuidTable.from_bytes(raw(LEAF_D, LEAF_D1)).xss == 0x1800


def test_xstate_size_is_ecx_of_leaf_d():
    # SDM vol.2 CPUID 0DH: ECX is the size for all supported components, EBX for those in XCR0.
    assert CpuidTable.from_bytes(raw(LEAF_D)).xstate_size == 11008


@pytest.mark.parametrize("attribute", ["xcr0", "xss", "xstate_size"])
def test_a_table_without_leaf_d_offers_nothing(attribute):
    assert getattr(CpuidTable(()), attribute) == 0


def test_find_tells_subleaves_apart():
    table = CpuidTable.from_bytes(raw(LEAF_D, LEAF_D1))
    assert table.find(0xD, 1) == CpuidEntry(*LEAF_D1)
