import pytest

from kvmprobe.errors import MissingTools
from kvmprobe.lab import guest_programs
from kvmprobe.lab.cache import Cache


def test_the_firmware_is_a_rom_that_starts_at_its_beginning(tmp_path, listener):
    programs = guest_programs.ensure(Cache(tmp_path), listener)
    rom = programs.firmware.read_bytes()
    assert len(rom) == 0x10000
    # SDM vol.3 "First Instruction Executed": 0xfff0; a near jump (E9) to offset 0, modulo 64 KiB.
    assert rom[0xFFF0] == 0xE9
    assert (0xFFF3 + int.from_bytes(rom[0xFFF1:0xFFF3], "little")) % 0x10000 == 0
    assert rom[0] == 0xFA  # CLI


def test_init_is_a_static_program(tmp_path, listener):
    init = guest_programs.ensure(Cache(tmp_path), listener).init
    assert b"/lib64/ld-linux" not in init.read_bytes()
    assert init.stat().st_mode & 0o111


def test_they_are_compiled_once(tmp_path, listener):
    cache = Cache(tmp_path)
    first = guest_programs.ensure(cache, listener)
    before = first.init.stat().st_mtime_ns
    assert guest_programs.ensure(cache, listener) == first
    assert first.init.stat().st_mtime_ns == before


@pytest.mark.parametrize("damage", [b"", b"\x7fELF"])
def test_a_damaged_one_is_compiled_again(tmp_path, listener, damage):
    cache = Cache(tmp_path)
    init = guest_programs.ensure(cache, listener).init
    whole = init.read_bytes()
    init.write_bytes(damage)
    assert guest_programs.ensure(cache, listener).init.read_bytes() == whole


def test_a_missing_compiler_is_reported_with_its_package(tmp_path, listener, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingTools) as failure:
        guest_programs.ensure(Cache(tmp_path / "cache"), listener)
    assert failure.value.names == ("binutils", "gcc", "util-linux")
