"""Steps as JSON without loss, though a step's values stand in one object for all of its calls.

The record has ``observers``: each call that observes, with the names of what it reads, once.  A
step names its observers by their numbers there; what they do not read belongs to its op.  Where
that does not give back what a call has, the call's values stand in the step's ``own``, by its
position: where two calls read one field, and where a call failed that was to read it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from kvmprobe.results.record import StepRecord

# What was read, what a correct kernel shows, and which bits it may show either way, by field.
Values = tuple[dict[str, int], dict[str, int], dict[str, int]]
KINDS = ("observed", "expected", "undetermined")
_Observer = tuple[str, tuple[str, ...]]


def steps_to_json(steps: Sequence[StepRecord]) -> dict[str, Any]:
    """Return the members ``observers`` (if there are any) and ``steps`` of a record."""
    numbers: dict[_Observer, int] = {}
    written = [_step(number, step, numbers) for number, step in enumerate(steps)]
    observers = [{"op": text, "fields": list(names)} for text, names in numbers]
    return {**({"observers": observers} if observers else {}), "steps": written}


def values_of_calls(
    step: Mapping[str, Any], names_of_observers: Sequence[Sequence[str]]
) -> list[Values]:
    """Return what each call of a step has, its op's first."""
    merged = tuple(_numbers(step.get(kind, {})) for kind in KINDS)
    shared = _shared(merged, names_of_observers)
    own = step.get("own", {})
    return [
        _values(_numbers(own[str(position)].get(kind, {})) for kind in KINDS)
        if str(position) in own
        else values
        for position, values in enumerate(shared)
    ]


def _step(number: int, step: StepRecord, numbers: dict[_Observer, int]) -> dict[str, Any]:
    values = [_values((call.fields, call.expected, call.undetermined)) for call in step.calls]
    merged = _merged(values)
    observers = [(call.text, tuple(call.fields)) for call in step.calls[1:]]
    shared = _shared(merged, [names for _, names in observers]) if values else []
    own = {
        str(position): _members(has)
        for position, (has, inferred) in enumerate(zip(values, shared, strict=True))
        if has != inferred
    }
    optional = {
        **_members(({}, *merged[1:])),
        "observers": [numbers.setdefault(observer, len(numbers)) for observer in observers],
        "own": own,
    }
    first = step.calls[0] if step.calls else None
    return {
        "step": number,
        "op": first.text if first else "",
        "result": first.result if first else None,
        "results": [call.result for call in step.calls],
        "observed": _hexadecimal(merged[0]),
        "kernel_log": list(step.kernel_log),
        **{name: value for name, value in optional.items() if value},
    }


def _merged(values: Iterable[Values]) -> Values:
    """Return the last call's value of each field, and what should be otherwise."""
    merged: Values = ({}, {}, {})
    for of_call in values:
        for into, found in zip(merged, of_call, strict=True):
            into.update(found)
    observed, expected, undetermined = merged
    other = {name: value for name, value in expected.items() if observed.get(name) != value}
    return observed, other, undetermined


def _shared(merged: Sequence[Mapping[str, int]], names: Sequence[Sequence[str]]) -> list[Values]:
    """Share a step's values out among its op and its observers."""
    observers = [_only(merged, of_call.__contains__) for of_call in names]
    theirs = {name for of_call in names for name in of_call}
    return [_only(merged, lambda name: name not in theirs), *observers]


def _only(merged: Sequence[Mapping[str, int]], wanted: Callable[[str], bool]) -> Values:
    return _values({n: v for n, v in kind.items() if wanted(n)} for kind in merged)


def _values(kinds: Iterable[Mapping[str, int]]) -> Values:
    observed, expected, undetermined = map(dict, kinds)
    return observed, expected, undetermined


def _members(values: Values) -> dict[str, dict[str, str]]:
    named = zip(KINDS, values, strict=True)
    return {kind: _hexadecimal(of_kind) for kind, of_kind in named if of_kind}


def _hexadecimal(fields: Mapping[str, int]) -> dict[str, str]:
    return {name: hex(value) for name, value in fields.items()}


def _numbers(data: Mapping[str, Any]) -> dict[str, int]:
    return {str(name): int(value, 16) for name, value in data.items()}
