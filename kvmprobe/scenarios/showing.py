"""Which defects a scenario shows: with each of them, the model's answer always differs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.model.outcome import Done, NotCovered, OneOf

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from kvmprobe.model.behaviours import Behaviour
    from kvmprobe.model.outcome import ExpectedImage, Outcome
    from kvmprobe.scenarios.model_run import ModelRun, ModelRuns
    from kvmprobe.scenarios.scenario import Scenario


def shows(scenario: Scenario, correct: ModelRun, defective: ModelRun) -> bool:
    """Return True if any call returns something that a correct host cannot return.

    :param correct: the run of a host without the defect
    :param defective: the run of a host with it
    """
    pairs = zip(correct.walked(scenario), defective.walk(scenario), strict=False)
    return any(
        expected is not answered and not _may_be_alike(expected.step.outcome, answered.step.outcome)
        for expected, answered in pairs
    )


def shown(
    scenario: Scenario, model_runs: ModelRuns, suspected: Iterable[Behaviour]
) -> Iterator[Behaviour]:
    """Yield the suspected defects that a scenario shows, each on a kernel with only that one."""
    correct = model_runs.with_defects()
    # With a defect that the model does not ask for, every step is the same.
    for defect in correct.asked(scenario).intersection(suspected):
        if shows(scenario, correct, model_runs.with_defects(frozenset({defect}))):
            yield defect


def _may_be_alike(one: Outcome, other: Outcome) -> bool:
    if isinstance(one, NotCovered) or isinstance(other, NotCovered):
        return True
    return one == other or any(_alike(a, b) for a in _choices(one) for b in _choices(other))


def _choices(outcome: Outcome) -> tuple[Outcome, ...]:
    return outcome.choices if isinstance(outcome, OneOf) else (outcome,)


def _alike(one: Outcome, other: Outcome) -> bool:
    if not isinstance(one, Done) or not isinstance(other, Done):
        return one == other
    return (
        (one.value, one.memory, one.table) == (other.value, other.memory, other.table)
        and _same_fields(one, other)
        and _same_image(one.image, other.image)
    )


def _same_fields(one: Done, other: Done) -> bool:
    for name in one.fields.keys() & other.fields.keys():
        free = one.open_fields.get(name, 0) | other.open_fields.get(name, 0)
        if (one.fields[name] ^ other.fields[name]) & ~free:
            return False
    return True


def _same_image(one: ExpectedImage | None, other: ExpectedImage | None) -> bool:
    if one is None or other is None or len(one.image) != len(other.image):
        return one == other
    differing = _number(one.image) ^ _number(other.image)
    for place in (*one.unspecified, *other.unspecified):
        differing &= ~(_number(place.bits) << 8 * place.offset)
    return not differing


def _number(content: bytes) -> int:
    return int.from_bytes(content, "little")
