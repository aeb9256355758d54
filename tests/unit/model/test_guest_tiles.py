"""AMX in a guest: SDM vol.2 LDTILECFG, TILELOADD, TDPBSSD; INV-39; live corrections 12 and 16."""

import struct
from functools import partial

import pytest

from kvmprobe.errors import NotModelled
from kvmprobe.model import guest_tiles as tiles
from kvmprobe.xstate.tiles import tile_configuration
from tests.support.guests import (
    ALL,
    GP,
    NM,
    NONE,
    UD,
    in_payload,
    memory,
    run,
    step,
    vector,
    with_xfd,
)
from tests.support.hosts import B18, VCPU

FULL = tile_configuration()
ROWS = bytes(range(256)) * 4
configure = partial(tiles.ldtilecfg, configuration=FULL)
load = partial(tiles.tileloadd, tile=2, rows=ROWS)
store = partial(tiles.tilestored, tile=2, before=b"\x5a" * 1024)
zero = partial(tiles.tilezero, tile=2)
USERS = {"load": load, "store": store, "zero": zero, "multiply": tiles.tdpbssd}
OTHERS = {"configure": configure, "store configuration": tiles.sttilecfg}
OTHERS["release"] = tiles.tilerelease
EVERY = USERS | OTHERS
each = pytest.mark.parametrize("instruction", EVERY.values(), ids=EVERY)
each_user = pytest.mark.parametrize("instruction", USERS.values(), ids=USERS)


def configured(**fields):
    return run(in_payload(**fields), configure)


def changed(**places):
    """The configuration with some bytes changed, by ``at`` and offset."""
    content = bytearray(FULL)
    for place, value in places.items():
        content[int(place.removeprefix("at"))] = value
    return bytes(content)


@each
def test_without_osxsave_it_is_ud(instruction):
    assert vector(in_payload(cr4=0x620), instruction) == UD


@each
@pytest.mark.parametrize("xcr0", [1, 0xE7, ALL & ~B18])
def test_without_both_tile_components_in_xcr0_it_is_ud(instruction, xcr0):
    assert vector(in_payload(xcr0=xcr0), instruction) == UD


@each_user
def test_without_a_configuration_it_is_ud(instruction):
    assert vector(in_payload(), instruction) == UD


@each_user
def test_under_an_armed_xfd_it_is_nm_that_tells_the_component(instruction):
    # INV-39
    machine = run(configured(), with_xfd(B18))
    done = step(machine, instruction)
    told = done.outcome.fields
    assert (told["vector"], told["cr0"] & 8, done.machine.vcpu(VCPU).xfd_err) == (NM, 0, B18)


@pytest.mark.parametrize("instruction", OTHERS.values(), ids=OTHERS)
def test_what_uses_no_tile_data_does_not_care_for_xfd(instruction):
    machine = run(configured(), with_xfd(B18))
    done = step(machine, instruction)
    assert (done.outcome.fields["vector"], done.machine.vcpu(VCPU).xfd_err) == (NONE, 0)


def test_a_retry_after_disarming_works():
    machine = run(configured(), with_xfd(B18), load)
    machine = run(machine, with_xfd(0), load)
    assert memory(machine, store) == ROWS


def test_what_was_loaded_is_stored():
    assert memory(run(configured(), load), store) == ROWS


def test_it_lies_in_tile_data_at_its_tiles_place():
    # palette 1: 8 tiles of 1024 bytes
    data = run(configured(), load).vcpu(VCPU).fpstate.contents[18]
    assert data == bytes(2048) + ROWS + bytes(5120)


def test_a_tile_whose_rows_end_within_a_word_is_not_cleared():
    # SDM vol.2 "AMX Instruction Exception Classes": loads, stores and products need whole words
    machine = run(in_payload(), partial(tiles.ldtilecfg, configuration=changed(at20=6)))
    assert vector(machine, load) == UD
    with pytest.raises(NotModelled):
        run(machine, zero)


def test_tilezero_clears_its_tile():
    assert memory(run(configured(), load, zero), store) == bytes(1024)


def test_a_configuration_can_be_stored():
    assert memory(configured(), tiles.sttilecfg) == FULL


def test_without_one_zeros_are_stored():
    assert memory(in_payload(), tiles.sttilecfg) == bytes(64)


def test_configuring_clears_tile_data():
    assert memory(run(configured(), load, configure), store) == bytes(1024)


@pytest.mark.parametrize(
    "release", [tiles.tilerelease, partial(tiles.ldtilecfg, configuration=changed(at0=0))]
)
def test_releasing_takes_both_components_to_init(release):
    vcpu = run(configured(), load, release).vcpu(VCPU)
    assert not vcpu.fpstate.xstate_bv & (1 << 17 | B18)


@pytest.mark.parametrize(
    "places",
    [
        {"at0": 2},
        {"at2": 1},
        {"at15": 1},
        {"at32": 1},
        {"at56": 1},
        {"at48": 17},
        {"at16": 65},
        {"at17": 1},
        {"at48": 0},
        {"at16": 0},
    ],
    ids=str,
)
def test_an_illegal_configuration_is_gp_and_changes_nothing(places):
    # SDM vol.2 LDTILECFG: palette, reserved bytes, rows, columns, one of both zero
    illegal = partial(tiles.ldtilecfg, configuration=changed(**places))
    machine = configured()
    assert vector(machine, illegal) == GP
    assert memory(run(machine, illegal), tiles.sttilecfg) == FULL


def test_a_small_tile_takes_and_gives_its_shape_alone():
    # 2 rows of 8 bytes
    small = partial(tiles.ldtilecfg, configuration=changed(at20=8, at50=2))

    def both(guest):
        return store(load(small(guest)))

    row = b"\x5a" * 56
    expected = ROWS[:8] + row + ROWS[64:72] + row + b"\x5a" * 896
    assert memory(in_payload(), both) == expected


def test_an_unused_tile_is_ud():
    unused = partial(tiles.ldtilecfg, configuration=changed(at20=0, at50=0))
    assert vector(run(in_payload(), unused), load) == UD


def test_products_of_signed_bytes_are_added_up():
    # SDM vol.2 TDPBSSD: each 32-bit word gains 16 * 4 products; -1 * 2 = -2
    left = partial(tiles.tileloadd, tile=1, rows=b"\xff" * 1024)
    right = partial(tiles.tileloadd, tile=2, rows=b"\x02" * 1024)
    machine = run(configured(), left, right, tiles.tdpbssd)
    stored = memory(machine, partial(tiles.tilestored, tile=0, before=bytes(1024)))
    assert set(struct.unpack("<256i", stored)) == {-128}
