"""Conversion of steps to JSON and back: each op once in a record, each call with what it read.

Most of a journal are steps, so they are converted without the general codec.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kvmprobe.results.codec import (
    coder,
    from_json,
    hexadecimal,
    in_range,
    object_schema,
    read_list,
    to_json,
    wrong,
)
from kvmprobe.results.record import CallRecord, StepRecord
from kvmprobe.scenarios.ops import Op

if TYPE_CHECKING:
    from collections.abc import Sequence

_OP: Any = Op
_TEXTS: Any = tuple[str, ...]
_VALUES: Any = Mapping[str, int]
_READ = {
    "observed": "what was read",
    "expected": "what a correct kernel shows, if it differs",
    "undetermined": "bits that may have either value",
}
_CALL_SCHEMA = object_schema(
    {
        "op": {"type": "integer", "minimum": 0, "description": "index in the record's ops"},
        "result": coder(int).schema | {"description": "or -errno"},
        **{name: coder(_VALUES).schema | {"description": of} for name, of in _READ.items()},
    },
    _READ,
)
_CALL = frozenset(_CALL_SCHEMA["properties"])
_STEP_SCHEMA = object_schema(
    {
        "calls": {
            "type": "array",
            "items": _CALL_SCHEMA,
            "description": "the op, then its observers",
        },
        "kernel_log": coder(_TEXTS).schema,
    },
    ("kernel_log",),
)
STEPS_SCHEMA = {
    "ops": {
        "type": "array",
        "items": coder(_OP).schema,
        "description": "each op of the steps, once",
    },
    "steps": {"type": "array", "items": _STEP_SCHEMA},
}


def steps_to_json(steps: Sequence[StepRecord]) -> dict[str, Any]:
    """Return the members ``ops`` and ``steps`` of a record; a call has the index of its op."""
    numbers: dict[Op, int] = {}
    written = [
        {
            "calls": [_call(call, numbers) for call in step.calls],
            **({"kernel_log": list(step.kernel_log)} if step.kernel_log else {}),
        }
        for step in steps
    ]
    return {"ops": [to_json(_OP, op) for op in numbers], "steps": written}


def steps_from_json(data: Mapping[str, Any]) -> tuple[StepRecord, ...]:
    """Return the steps of a record.

    :raises ScenarioError: they are malformed; the message begins with the path
    """
    listed, steps = (read_list(data[name], f"$.{name}") for name in ("ops", "steps"))
    ops = [from_json(_OP, op, f"$.ops[{n}]") for n, op in enumerate(listed)]
    return tuple(_step(step, ops, f"$.steps[{n}]") for n, step in enumerate(steps))


def _call(call: CallRecord, numbers: dict[Op, int]) -> dict[str, Any]:
    number = numbers.setdefault(call.op, len(numbers))
    return {"op": number, "result": call.result, **call.texts}


def _step(data: object, ops: Sequence[Op], path: str) -> StepRecord:
    if not isinstance(data, dict) or data.keys() - {"calls", "kernel_log"}:
        raise wrong(path, "expected a step")
    calls = read_list(data.get("calls"), f"{path}.calls")
    log = read_list(data.get("kernel_log", []), f"{path}.kernel_log")
    return StepRecord(
        tuple(_call_of(call, ops, f"{path}.calls[{n}]") for n, call in enumerate(calls)),
        tuple(map(str, log)),
    )


def _call_of(data: object, ops: Sequence[Op], path: str) -> CallRecord:
    if not isinstance(data, dict) or data.keys() - _CALL:
        raise wrong(path, "expected a call")
    number, result = data.get("op"), data.get("result")
    if type(number) is not int or not 0 <= number < len(ops):
        raise wrong(f"{path}.op", f"expected a number below {len(ops)}")
    observed, expected, undetermined = (_values(data.get(k), f"{path}.{k}") for k in _READ)
    return CallRecord(
        ops[number], in_range(result, f"{path}.result"), observed, expected, undetermined
    )


def _values(data: object, path: str) -> dict[str, int]:
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise wrong(path, "expected hexadecimal numbers by name")
    return {name: hexadecimal(value, f"{path}.{name}") for name, value in data.items()}
