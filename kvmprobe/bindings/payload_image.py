"""The guest payload's machine code, as the extension module has it."""

from __future__ import annotations

import mmap

from kvmprobe.abi.numbers import RESET_VECTOR
from kvmprobe.bindings._ffi import ffi, lib

_RESET_SIZE = 16


def payload_code() -> bytes:
    """Return what lies at KVMPROBE_PAYLOAD_CODE in the guest's memory."""
    size = lib.kvmprobe_payload_code_size()
    return _memory()[lib.KVMPROBE_PAYLOAD_CODE : lib.KVMPROBE_PAYLOAD_CODE + size]


def payload_reset() -> bytes:
    """Return what lies at the reset vector."""
    start = lib.KVMPROBE_PAYLOAD_MEMORY_SIZE + RESET_VECTOR
    return _memory()[start : start + _RESET_SIZE]


def _memory() -> bytes:
    memory = bytearray(lib.KVMPROBE_PAYLOAD_MEMORY_SIZE + mmap.PAGESIZE)
    lib.kvmprobe_payload_fill(ffi.from_buffer("uint8_t[]", memory))
    return bytes(memory)
