"""Messages on a machine's control socket about coverage: read its kernel's text, name the blocks.

The machine has to wait for input of its program.  The patched emulator documents the messages
(``iodev/kvmprobe_coverage.h`` in ``patches/30-coverage.patch``).
"""

from __future__ import annotations

import os
import socket
import struct
from array import array
from typing import TYPE_CHECKING

from kvmprobe.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Sequence

_SECONDS = 30.0
_MESSAGE_BYTES = 64
_RANGE = struct.Struct("<QQ")


def read_text(control: socket.socket, ranges: Sequence[tuple[int, int]]) -> list[bytes] | None:
    """Return the bytes at linear addresses of the machine; None if a page is not mapped.

    :param ranges: address and size, bytes
    :raises LabError: the machine has ended, or refuses
    """
    head = b"".join(_RANGE.pack(*each) for each in (*ranges, (0, 0)))
    size = sum(length for _, length in ranges)
    descriptor = os.memfd_create("kvmprobe-text", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, head)
        os.ftruncate(descriptor, len(head) + size)
        if _ask(control, b"text", descriptor) != 0:
            return None
        content = os.pread(descriptor, size, len(head))
    finally:
        os.close(descriptor)
    pieces, start = [], 0
    for _, length in ranges:
        pieces.append(content[start : start + length])
        start += length
    return pieces


def watch_blocks(control: socket.socket, addresses: Sequence[int]) -> None:
    """Have the machine, and all forks of it, report which of these blocks are reached.

    :param addresses: of their first instructions, in ascending order, in the upper 2 GiB
    :raises LabError: the machine has ended, or has blocks already
    """
    descriptor = os.memfd_create("kvmprobe-blocks", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, array("I", (address & 0xFFFFFFFF for address in addresses)).tobytes())
        _ask(control, b"cover", descriptor)
    finally:
        os.close(descriptor)


_ANSWERS = {b"text": "text", b"cover": "covered"}


def _ask(control: socket.socket, message: bytes, descriptor: int) -> int:
    control.settimeout(_SECONDS)
    try:
        socket.send_fds(control, [message], [descriptor])
        answer = control.recv(_MESSAGE_BYTES).decode("ascii", errors="replace")
    except OSError as error:
        raise LabError(f"coverage: the emulated host does not answer: {error}") from error
    word, _, number = answer.partition(" ")
    if word != _ANSWERS[message] or not number.isdecimal():
        raise LabError(f"coverage: the emulator refuses {message.decode()!r}: {answer!r}")
    return int(number)
