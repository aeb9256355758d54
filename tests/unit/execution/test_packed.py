"""Bytes in the facts of a worker."""

from __future__ import annotations

import pytest

from kvmprobe.execution.packed import pack, unpack


def test_packed_bytes_are_one_line_of_ascii():
    assert pack(bytes(range(256)) * 43).isascii()
    assert "\n" not in pack(bytes(range(256)) * 43)


@pytest.mark.parametrize(
    "text", ["", "x", "é", "AAAA", pack(bytes(9))[:-4], pack(bytes((1 << 20) + 1))]
)
def test_what_is_damaged_or_too_large_is_refused(text):
    with pytest.raises(ValueError):  # noqa: PT011 - also base64's own
        unpack(text)


def test_unpacking_gives_the_bytes_back():
    assert unpack(pack(bytearray(b"\xa5" * 11072))) == b"\xa5" * 11072
