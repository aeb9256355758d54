"""Compares what two machines read, without what may legally differ."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.abi import ioctls
from kvmprobe.checkers.event import written_image
from kvmprobe.checkers.normal import normal_image
from kvmprobe.scenarios.ops.sregs import GetSregs, GetSregs2
from kvmprobe.scenarios.ops.xsave import GetXsave2

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kvmprobe.model.host import HostProfile
    from kvmprobe.results.trace import Reply
    from kvmprobe.scenarios.ops import Op

_SEGMENTS = ("cs", "ds", "es", "fs", "gs", "ss", "tr", "ldt")
_TYPES = [ioctls.KVM_SREGS.offset(f"{name}.type") for name in _SEGMENTS]


def differing(
    reads: Sequence[Op], one: Sequence[Reply], other: Sequence[Reply], host: HostProfile
) -> Iterator[Op]:
    """Yield the reads whose replies differ.

    An image may differ in what the processor decides when it loads and saves.  The type in a
    segment's access rights may differ after the guest has run in real-address mode, in which the
    processor does not use it (SDM vol.3 §28.3.1.2 "Checks on Guest Segment Registers").
    """
    for op, left, right in zip(reads, one, other, strict=False):
        outputs = left.output or b"", right.output or b""
        if left.result == right.result and _same(op, *outputs, host):
            continue
        yield op


def _same(op: Op, one: bytes, other: bytes, host: HostProfile) -> bool:
    if one == other:
        return True
    if not (one and other):
        return False
    if isinstance(op, GetXsave2):
        images = written_image(one, host), written_image(other, host)
        return len({*normal_image(*images, host)}) == 1
    return isinstance(op, GetSregs | GetSregs2) and _untyped(one) == _untyped(other)


def _untyped(sregs: bytes) -> bytes:
    content = bytearray(sregs)
    for offset in _TYPES:
        content[offset] = 0
    return bytes(content)
