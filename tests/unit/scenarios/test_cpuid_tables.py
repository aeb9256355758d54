"""What each variant of a table changes; bits as in SDM vol.2 CPUID."""

from __future__ import annotations

import pytest

from kvmprobe.scenarios.cpuid_tables import CAPTURED, LITERAL, Table, table, version_1
from tests.support.hosts import AMX_HOST, PROFILES

FULL = AMX_HOST.supported


def variant(name):
    return table(AMX_HOST, name)


def test_every_variant_is_a_literal_or_captured():
    assert set(LITERAL) | CAPTURED == set(Table)


def test_no_two_variants_are_equal():
    tables = [variant(name) for name in LITERAL]
    # This host supports no CET, so there is nothing of it to take away.
    assert len(set(tables)) == len(tables) - 4
    assert variant(Table.NO_XSS) == variant(Table.FULL)
    assert {variant(t) for t in (Table.NO_SHSTK, Table.NO_IBT, Table.NO_CET)} == {
        variant(Table.NO_AMX)
    }


@pytest.mark.parametrize("host", PROFILES.values(), ids=PROFILES)
def test_no_variant_is_too_long(host):
    assert [name for name in LITERAL if len(table(host, name).entries) > 256] == []


@pytest.mark.parametrize("host", PROFILES.values(), ids=PROFILES)
@pytest.mark.parametrize(
    ("name", "tiles"),
    [
        (Table.NO_AMX, 0),
        (Table.TILE_CFG_ALONE, 1 << 17),
        (Table.TILE_DATA_ALONE, 1 << 18),
        (Table.ALL_XCR0, 3 << 17),
    ],
)
def test_tile_bits_are_the_same_on_every_host(host, name, tiles):
    assert table(host, name).xcr0 & 3 << 17 == tiles


@pytest.mark.parametrize(
    ("name", "leaf", "subleaf", "register", "bit"),
    [
        (Table.NO_XSAVE, 0x1, 0, "ecx", 26),
        (Table.NO_XSAVES, 0xD, 1, "eax", 3),
        (Table.NO_COMPACTION, 0xD, 1, "eax", 1),
        (Table.NO_COMPACTION, 0xD, 1, "eax", 3),
        (Table.NO_XFD, 0xD, 1, "eax", 4),
        (Table.NO_PKU, 0x7, 0, "ecx", 3),
        (Table.NO_PKU, 0xD, 0, "eax", 9),
        (Table.NO_AMX, 0x7, 0, "edx", 24),
    ],
)
def test_a_feature_is_taken_away(name, leaf, subleaf, register, bit):
    assert getattr(FULL.at(leaf, subleaf), register) >> bit & 1
    assert not getattr(variant(name).at(leaf, subleaf), register) >> bit & 1


def test_one_register_differs_in_one_register():
    pairs = zip(FULL.entries, variant(Table.ONE_REGISTER).entries, strict=True)
    assert sum(a != b for before, after in pairs for a, b in zip(before, after, strict=True)) == 1


def test_reversed_has_the_same_entries():
    assert sorted(variant(Table.REVERSED).entries) == sorted(FULL.entries)


def test_filled_has_256_entries():
    assert len(variant(Table.FILLED).entries) == 256


def test_linear_addresses_of_40_bits_are_bad():
    assert variant(Table.BAD_ADDRESS_SIZES).at(0x8000_0008, 0).eax >> 8 & 0xFF == 40


def test_the_older_structure_holds_sub_leaf_0_without_flags():
    entries = version_1(AMX_HOST, Table.FULL).entries
    assert {(e.subleaf, e.flags) for e in entries} == {(0, 0)}
