"""Lists of functions that were stored."""

import pytest

from kvmprobe.coverage.functions import KernelFunction, KernelFunctions

LISTED = KernelFunctions((KernelFunction("kvm", "f", 0xFFFFFFFFC0000000, b"\xc3"),), {}, {})


def test_what_was_stored_is_read():
    assert KernelFunctions.from_json(LISTED.to_json()) == LISTED


@pytest.mark.parametrize("address", [-1, 1 << 64, 0.5, float("inf"), "1", None, True])
def test_what_is_no_address_is_refused(address):
    stored = LISTED.to_json()
    stored["functions"][0][2] = address
    with pytest.raises(ValueError, match="is no address"):
        KernelFunctions.from_json(stored)
