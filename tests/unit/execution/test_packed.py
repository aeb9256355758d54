"""Bytes in the facts of a worker."""

from __future__ import annotations

from kvmprobe.execution.packed import pack, unpack


def test_packed_bytes_are_one_line_of_ascii():
    assert pack(bytes(range(256)) * 43).isascii()
    assert "\n" not in pack(bytes(range(256)) * 43)


def test_unpacking_gives_the_bytes_back():
    assert unpack(pack(bytearray(b"\xa5" * 11072))) == b"\xa5" * 11072
