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
    from kvmprobe.model.outcome import ExpectedTable, Outcome
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
            size = _FIELD_SIZE * len(outcome.fields)
            size += len(outcome.image.image) if outcome.image else 0
            size += len(outcome.memory.content) if outcome.memory else 0
            size += _ENTRY_SIZE * len(outcome.table.table.entries) if outcome.table else 0
            return size - sum(count for _, count in _open_in_done(outcome))
        case Failed():
            return _FIELD_SIZE * len(outcome.fields)
        case OneOf(choices):
            return min(map(_judged_in, choices)) - open_in(outcome).total()
        case _:
            return 0


def open_in(outcome: Outcome) -> Counter[str]:
    """Return the number of unspecified bytes in an outcome, by reason."""
    match outcome:
        case Done():
            return _by_reason(outcome)
        case OneOf(choices, reason):
            each = [_by_reason(choice) for choice in choices]
            most = Counter({why: max(one[why] for one in each) for why in set().union(*each)})
            return most + Counter({reason: _differing(choices)})
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
            yield place.reason, len(place.bits) - place.bits.count(0)
    if done.table:
        yield done.table.reason, _registers(done.table)


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
    images = [choice.image.image if choice.image else b"" for choice in choices]
    memories = [choice.memory.content if choice.memory else b"" for choice in choices]
    return results + values + _unequal(images) + _unequal(memories)


def _unequal(contents: list[bytes]) -> int:
    size = max(map(len, contents))
    if len(set(contents)) == 1:
        return 0
    first, *others = [int.from_bytes(content.ljust(size, b"\0"), "little") for content in contents]
    differing = 0
    for other in others:
        differing |= first ^ other
    return _bytes_of(differing)


def _bytes_of(bits: int) -> int:
    content = bits.to_bytes((bits.bit_length() + 7) // 8, "little")
    return len(content) - content.count(0)
