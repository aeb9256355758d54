"""What each ioctl moves, for the recorder: from the declarations in :mod:`abi.ioctls`.

An ioctl that kvmprobe does not describe moves what its number says.
"""

from __future__ import annotations

from struct import calcsize
from typing import NamedTuple

from kvmprobe.abi import ioctls
from kvmprobe.abi.ioctls import Direction, IoctlSpec
from kvmprobe.abi.tables import table_of

# As many bytes as KVM_CAP_XSAVE2 says; KVM_GET_XSAVE writes as many as its number says.
_IMAGES = frozenset({ioctls.GET_XSAVE2, ioctls.SET_XSAVE})
_ATTRIBUTE_SIZE = 8


class Rule(NamedTuple):
    """One ioctl; ``struct rule`` of ``kvmprobe/native/tracing/tracing.h``."""

    request: int
    sent: int
    got: int
    size: int
    entry: int = 0
    count_width: int = 0
    image: int = 0
    size_at: int = 0
    pointer_at: int = 0
    value: int = 0
    value_sent: int = 0


def rule_of(spec: IoctlSpec) -> Rule:
    """Return what an ioctl with a structure moves."""
    rule = Rule(
        spec.number,
        int(spec.direction in {Direction.WRITE, Direction.BOTH}),
        int(spec.direction in {Direction.READ, Direction.BOTH}),
        spec.size,
    )
    argument = spec.argument
    assert argument is not None  # noqa: S101 - the caller selects them
    if table := table_of(argument):
        width = calcsize(f"={next(iter(argument.members.values()))}")
        return rule._replace(entry=table.entry.size, count_width=width)
    if spec in _IMAGES:
        return rule._replace(image=1)
    if argument is ioctls.KVM_NESTED_STATE:
        return rule._replace(size_at=argument.offset("size"))
    if argument is ioctls.KVM_ONE_REG:
        sent = int(spec is ioctls.SET_ONE_REG)
        return rule._replace(pointer_at=argument.offset("addr"), value_sent=sent)
    if spec in {ioctls.GET_DEVICE_ATTR, ioctls.SET_DEVICE_ATTR}:
        sent = int(spec is ioctls.SET_DEVICE_ATTR)
        place = argument.offset("addr")
        return rule._replace(pointer_at=place, value=_ATTRIBUTE_SIZE, value_sent=sent)
    return rule


def rules() -> tuple[Rule, ...]:
    """Return the rules of all ioctls with a structure."""
    return tuple(rule_of(spec) for spec in ioctls.ALL if spec.argument)


def as_text() -> str:
    """Return them as the recorder reads them."""
    return "".join(",".join(map(str, rule)) + ";" for rule in rules())
