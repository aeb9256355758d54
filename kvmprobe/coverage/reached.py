"""Sets of basic blocks: what one scenario reached, packed for the journal, added up.  Pure."""

from __future__ import annotations

import zlib
from base64 import b64decode, b64encode
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvmprobe.coverage.blocks import Block

# Bytes; the whole of a kernel has 100,000 blocks.
_MOST = 1 << 20


def pack(bits: bytes) -> str:
    """Return a set as text: base64 of zlib of its bits."""
    return b64encode(zlib.compress(bits.rstrip(b"\0"), 9)).decode("ascii")


def unpack(text: str) -> int:
    """Return what :func:`pack` made: bit N is set if block N was reached.

    :raises ValueError: it is no such text
    """
    decompressor = zlib.decompressobj()
    try:
        bits = decompressor.decompress(b64decode(text, validate=True), _MOST)
    except zlib.error as error:
        raise ValueError(f"a set of blocks is damaged: {error}") from error
    if not decompressor.eof:
        raise ValueError(f"a set of blocks is truncated, or has more than {_MOST} bytes")
    return int.from_bytes(bits, "little")


class FallThrough:
    """Completes sets: the emulator sees branches, and a block may be entered without one."""

    def __init__(self, blocks: Sequence[Block]) -> None:
        self._falling = 0
        for number, (block, behind) in enumerate(pairwise(blocks)):
            if block.falls_through and behind.start in block.successors():
                self._falling |= 1 << number

    def complete(self, reached: int) -> int:
        """Add the blocks into which control fell from a block that was reached.

        A fault in the first block can keep it from the second one; this is not seen.
        """
        while added := ((reached & self._falling) << 1) & ~reached:
            reached |= added
        return reached


def numbers(reached: int) -> list[int]:
    """Return the numbers of a set's blocks, ascending."""
    return [number for number, bit in enumerate(reversed(f"{reached:b}")) if bit == "1"]
