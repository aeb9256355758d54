"""The fields that a correct kernel returns in a call's output, for the record."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.model.outcome import Done, Failed, HostDies, NewDescriptor, NotCovered, OneOf
from kvmprobe.xstate.image import xstate_bv_of
from kvmprobe.xstate.layout import XSTATE_BV

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kvmprobe.model.outcome import ExpectedImage, Outcome

_IMAGE_FIELD = "XSTATE_BV"


def expected_fields(
    outcome: Outcome, observed: Mapping[str, int]
) -> tuple[Mapping[str, int], Mapping[str, int]]:
    """Return the values that a correct kernel returns, and the bits that it may choose.

    The values have the observed value in those bits.  If several outcomes are legal, every bit in
    which they differ is one of them.
    """
    first, *others = [_fields(choice) for choice in _choices(outcome)] or [{}]
    values: dict[str, int] = {}
    undetermined: dict[str, int] = {}
    for name, (value, own) in first.items():
        if any(name not in other for other in others):
            continue
        bits = own
        for other_value, other_bits in (other[name] for other in others):
            bits |= value ^ other_value | other_bits
        if not bits:
            values[name] = value
        elif name in observed:
            values[name] = value & ~bits | observed[name] & bits
            undetermined[name] = bits
    return values, undetermined


def _choices(outcome: Outcome) -> Iterator[Done | Failed]:
    match outcome:
        case OneOf(choices):
            yield from choices
        case Done() | Failed():
            yield outcome
        case NewDescriptor() | HostDies() | NotCovered():
            return


def _fields(outcome: Done | Failed) -> dict[str, tuple[int, int]]:
    """Return the value and the unspecified bits of each field."""
    fields = {name: (value, 0) for name, value in outcome.fields.items()}
    if isinstance(outcome, Failed):
        return fields
    fields |= {
        name: (outcome.fields.get(name, 0), bits) for name, bits in outcome.open_fields.items()
    }
    if outcome.image is not None:
        fields[_IMAGE_FIELD] = (xstate_bv_of(outcome.image.image), _open_xstate_bv(outcome.image))
    return fields


def _open_xstate_bv(expected: ExpectedImage) -> int:
    bits = 0
    for place in expected.unspecified:
        start = max(place.offset, XSTATE_BV.start)
        overlap = place.bits[start - place.offset : max(0, XSTATE_BV.stop - place.offset)]
        bits |= int.from_bytes(overlap, "little") << 8 * (start - XSTATE_BV.start)
    return bits
