"""SDM vol.2 LDTILECFG, table "Memory Area Layout"."""

import pytest

from kvmprobe.xstate.tiles import configures, inside_shapes, tile_configuration


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


def changed(offset, value):
    content = bytearray(tile_configuration())
    content[offset] = value
    return bytes(content)


@pytest.mark.parametrize(
    ("offset", "value"),
    # start_row, which LDTILECFG does not check; columns and rows below the maximum
    [(0, 1), (1, 3), (16, 32), (48, 8)],
)
def test_a_configuration_that_ldtilecfg_accepts_configures_tiles(offset, value):
    assert configures(changed(offset, value))


@pytest.mark.parametrize(
    ("offset", "value"),
    # SDM vol.2 LDTILECFG: palette, reserved, columns or rows alone, too many
    [(0, 0), (0, 2), (2, 1), (15, 1), (16, 0), (16, 65), (32, 1), (48, 0), (48, 17), (56, 1)],
)
def test_another_configuration_does_not(offset, value):
    assert not configures(changed(offset, value))


def shaped(rows, columns):
    """A configuration with one tile, the second."""
    content = bytearray(64)
    content[0], content[18], content[49] = 1, columns, rows
    return bytes(content)


@pytest.mark.parametrize(("row", "byte", "inside"), [(4, 23, True), (4, 24, False), (5, 0, False)])
def test_data_is_inside_the_shape_up_to_its_rows_and_columns(row, byte, inside):
    tiles = bytearray(8192)
    tiles[1024 + 64 * row + byte] = 1
    assert inside_shapes(shaped(5, 24), bytes(tiles)) == inside


def test_data_of_a_tile_that_is_not_configured_is_outside():
    assert not inside_shapes(shaped(5, 24), b"\1".ljust(8192, b"\0"))
