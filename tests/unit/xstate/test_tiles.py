"""SDM vol.2 LDTILECFG, table "Memory Area Layout"."""

import pytest

from kvmprobe.xstate.tiles import is_certainly_valid, tile_configuration


def test_configuration_is_64_bytes():
    assert len(tile_configuration()) == 64


def test_palette_is_1_and_start_row_0():
    assert tile_configuration()[:2] == b"\1\0"


def test_reserved_bytes_are_zero():
    assert tile_configuration()[2:16] == bytes(14)


def test_eight_tiles_have_64_bytes_a_row_and_no_other_has():
    assert tile_configuration()[16:48] == b"\x40\0" * 8 + bytes(16)


def test_eight_tiles_have_16_rows_and_no_other_has():
    assert tile_configuration()[48:] == b"\x10" * 8 + bytes(8)


def test_the_configuration_with_full_tiles_is_certainly_valid():
    assert is_certainly_valid(tile_configuration())


@pytest.mark.parametrize(
    ("offset", "value"),
    # SDM vol.2 LDTILECFG: palette, start_row, reserved, columns, rows
    [(0, 0), (0, 2), (1, 1), (2, 1), (15, 1), (16, 32), (32, 1), (48, 8), (56, 1)],
)
def test_any_other_configuration_is_not_certainly_valid(offset, value):
    changed = bytearray(tile_configuration())
    changed[offset] = value
    assert not is_certainly_valid(bytes(changed))
