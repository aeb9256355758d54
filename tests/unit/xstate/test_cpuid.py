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
    with pytest.raises(LayoutError, match="too short for 1 entries"):
        CpuidTable.from_bytes(raw(LEAF_D)[:-1])


def test_a_table_without_header_is_refused():
    with pytest.raises(LayoutError, match="shorter than its header"):
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


def test_find_distinguishes_subleaves():
    table = CpuidTable.from_bytes(raw(LEAF_D, LEAF_D1))
    assert table.find(0xD, 1) == CpuidEntry(*LEAF_D1)


def test_an_entry_whose_index_is_not_significant_is_every_subleaf():
    # arch/x86/kvm/cpuid.c: cpuid_entry2_find; KVM_CPUID_FLAG_SIGNIFCANT_INDEX is 1.
    plain = CpuidEntry(0xD, 0, 0, 7, 0, 0, 0)
    assert CpuidTable((plain,)).find(0xD, 5) == plain


def test_a_missing_entry_is_all_zero():
    assert CpuidTable(()).at(0xD, 2) == CpuidEntry(0xD, 2, 1, 0, 0, 0, 0)


def test_replacing_registers_leaves_other_entries_alone():
    table = CpuidTable.from_bytes(raw(LEAF_D, LEAF_D1)).replaced(0xD, 1, ecx=0)
    assert table.to_bytes() == raw(LEAF_D, (*LEAF_D1[:5], 0, 0))


def test_replacing_registers_of_a_missing_entry_changes_nothing():
    assert CpuidTable(()).replaced(0xD, 1, ecx=0) == CpuidTable(())


def test_the_older_structure_has_neither_index_nor_flags():
    # struct kvm_cpuid_entry: function, eax, ebx, ecx, edx, padding
    expected = struct.pack("<II", 1, 0) + struct.pack("<6I", 0xD, *LEAF_D[3:], 0)
    assert CpuidTable((CpuidEntry(*LEAF_D),)).to_version_1() == expected


# Sapphire Rapids: PKRU 8 bytes at 2688; XTILE_CFG 64 at 2752, aligned; CET_USER 16, no place.
CPU = CpuidTable(
    (
        CpuidEntry(0xD, 9, 1, 8, 2688, 0, 0),
        CpuidEntry(0xD, 11, 1, 16, 0, 1, 0),
        CpuidEntry(0xD, 17, 1, 64, 2752, 2, 0),
    )
)


@pytest.mark.parametrize(
    ("components", "size"), [(0, 576), (3, 576), (0x200, 2696), (0x20200, 2816), (0x20000, 2816)]
)
def test_a_standard_image_ends_where_its_last_component_does(components, size):
    # SDM vol.1 13.4.3
    assert CPU.standard_size(components) == size


@pytest.mark.parametrize(
    ("components", "size"),
    [(0, 576), (3, 576), (0x200, 584), (0x20000, 640), (0x20200, 640 + 64), (0xA00, 600)],
)
def test_a_compacted_image_has_no_gaps_but_before_aligned_components(components, size):
    # SDM vol.1 13.4.3: after PKRU at 576 the next multiple of 64 is 640.
    assert CPU.compacted_size(components) == size
