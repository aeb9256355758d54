"""The guest payload's machine code, from the compiled executor."""

from __future__ import annotations

import mmap

from kvmprobe.abi.numbers import RESET_VECTOR
from kvmprobe.abi.payload import PLACES
from kvmprobe.native._ffi import ffi, lib


def payload_code() -> bytes:
    """Return the code at PAYLOAD_CODE in guest memory."""
    start = PLACES["CODE"]
    return payload_memory()[start : start + lib.kvmprobe_payload_code_size()]


def payload_reset() -> bytes:
    """Return the code at the reset vector."""
    start = PLACES["MEMORY"] + RESET_VECTOR
    return payload_memory()[start : start + PLACES["RESET_SIZE"]]


def payload_memory() -> bytes:
    """Return the payload's memory, followed by the page of the reset vector."""
    memory = bytearray(PLACES["MEMORY"] + mmap.PAGESIZE)
    lib.kvmprobe_payload_fill(ffi.from_buffer("uint8_t[]", memory))
    return bytes(memory)
