"""Counts the bytes of a kernel's replies that the model leaves unspecified, by reason.

Unspecified bytes are not judged, so a growing number means a weaker model.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from kvmprobe.model.outcome import Done, Failed, OneOf
from kvmprobe.scenarios.model_run import ModelRuns

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmprobe.model.host import HostProfile
    from kvmprobe.model.outcome import ExpectedTable, Outcome, Unspecified
    from kvmprobe.scenarios.model_run import ModelRun
    from kvmprobe.scenarios.scenario import Scenario

_REGISTER_SIZE = 4
_FIELD_SIZE = 8
_ENTRY_SIZE = 4 * _REGISTER_SIZE


def open_bytes(scenario: Scenario, host: HostProfile) -> Counter[str]:
    """Return the number of unspecified bytes in the replies of a correct kernel, by reason."""
    found: Counter[str] = Counter()
    for known in ModelRuns(host).with_defects().walked(scenario):
        found += open_in(known.step.outcome)
    return found


def judged_bytes(scenario: Scenario, model_run: ModelRun, step_count: int) -> int:
    """Return how many bytes of a kernel's replies the model determines, up to a step."""
    count = sum(len(step.ops) for step in scenario.steps[:step_count])
    return sum(_judged_in(known.step.outcome) for known in model_run.walked(scenario)[:count])


def _judged_in(outcome: Outcome) -> int:
    match outcome:
        case Done():
            return _size(outcome) - open_in(outcome).total()
        case Failed():
            return _FIELD_SIZE * len(outcome.fields)
        case OneOf(choices):
            return min(map(_size, choices)) - open_in(outcome).total()
        case _:
            return 0


def _size(done: Done) -> int:
    size = _FIELD_SIZE * len(done.fields)
    size += len(done.image.image) if done.image else 0
    size += len(done.memory.content) if done.memory else 0
    return size + (_ENTRY_SIZE * len(done.table.table.entries) if done.table else 0)


def open_in(outcome: Outcome) -> Counter[str]:
    """Return the number of unspecified bytes in an outcome, by reason."""
    match outcome:
        case Done():
            return _by_reason(outcome)
        case OneOf(choices, freedom):
            each = [_by_reason(choice) for choice in choices]
            most = Counter({why: max(one[why] for one in each) for why in set().union(*each)})
            return most + Counter({str(freedom): _differing(choices)})
        case _:
            return Counter()


def _by_reason(done: Done) -> Counter[str]:
    found: Counter[str] = Counter()
    for reason, size in _open_in_done(done):
        found[reason] += size
    return +found


def _open_in_done(done: Done) -> Iterator[tuple[str, int]]:
    for name, bits in done.open_fields.items():
        yield f"the field {name}", _bytes_of(bits)
    for part in (done.image, done.memory):
        for place in part.unspecified if part else ():
            yield str(place.freedom), len(place.bits) - place.bits.count(0)
    if done.table:
        yield str(done.table.freedom), _registers(done.table)


def _registers(expected: ExpectedTable) -> int:
    leaves = [leaf for leaf, _ in expected.unspecified]
    return _REGISTER_SIZE * sum(leaves.count(entry.leaf) for entry in expected.table.entries)


def _differing(choices: tuple[Done, ...]) -> int:
    first = choices[0]
    names = {name for choice in choices for name in choice.fields}
    values = sum(
        max(_bytes_of(choice.fields.get(name, 0) ^ first.fields.get(name, 0)) for choice in choices)
        for name in names
    )
    results = int(len({choice.value for choice in choices}) > 1)
    images = [(c.image.image, c.image.unspecified) for c in choices if c.image]
    memories = [(c.memory.content, c.memory.unspecified) for c in choices if c.memory]
    return results + values + _unequal(images) + _unequal(memories)


def _unequal(parts: list[tuple[bytes, tuple[Unspecified, ...]]]) -> int:
    """Return the number of bytes that differ, without those that are open in one of the parts."""
    if len({content for content, _ in parts}) < 2:
        return 0
    first, *others = [int.from_bytes(content, "little") for content, _ in parts]
    differing = 0
    for other in others:
        differing |= first ^ other
    for place in (place for _, places in parts for place in places):
        differing &= ~(int.from_bytes(_whole(place.bits), "little") << 8 * place.offset)
    return _bytes_of(differing)


def _whole(bits: bytes) -> bytes:
    return bytes(0xFF if byte else 0 for byte in bits)


def _bytes_of(bits: int) -> int:
    content = bits.to_bytes((bits.bit_length() + 7) // 8, "little")
    return len(content) - content.count(0)
