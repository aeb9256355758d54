"""A scenario as a JSON document, schema ``kvmprobe-scenario/2`` (``kvmprobe ops --schema``).

Documents come from anywhere.  A mistake in one is reported with its path, before anything runs.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from kvmprobe.errors import ScenarioError
from kvmprobe.model.sapphire_rapids import sapphire_rapids
from kvmprobe.scenarios.domain import Domain
from kvmprobe.scenarios.need import needs_of
from kvmprobe.scenarios.op_fields import Wrong, kind_of, kinds, required, shown
from kvmprobe.scenarios.ops import Op, encode, registry
from kvmprobe.scenarios.scenario import Need, Scenario, ScenarioStep
from kvmprobe.scenarios.strict_json import Members, parse

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmprobe.model.host import HostProfile

SCHEMA = "kvmprobe-scenario/2"
_OLD = {
    "kvmprobe-scenario/1": "it named some ops differently (spawn-actor, map-agent, share-agent) "
    "and wrote executes, cap, code and file as numbers: write today's names, which "
    "`kvmprobe ops --schema` lists, and change the schema"
}
MOST_STEPS, MOST_CALLS = 1024, 3000
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}(\.[A-Za-z0-9_-]{1,64}){0,7}")
_TITLE = re.compile(r"[ -~]{0,64}")
_MEMBERS = ("schema", "id", "row", "column", "needs", "steps")
_STEP_MEMBERS = ("op", "observers")
_NEEDS = {need.name.lower(): need for need in Need}


def to_document(scenario: Scenario) -> str:
    """Return the scenario as JSON, one step per line."""
    steps = ",\n".join(
        "    "
        + json.dumps(
            {"op": encode(step.op), "observers": [encode(observer) for observer in step.observers]}
        )
        for step in scenario.steps
    )
    head = {
        "schema": SCHEMA,
        "id": scenario.id,
        "row": scenario.row,
        "column": scenario.column,
        "needs": sorted(need.name.lower() for need in scenario.needs),
    }
    lines = ",\n".join(f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in head.items())
    return f'{{\n{lines},\n  "steps": [\n{steps}\n  ]\n}}\n'


def from_document(content: bytes) -> Scenario:
    """Return the scenario that a document describes.

    Each op is lowered and given to the model once: the names that it refers to are bound, and its
    values fit the kernel's structures.

    :raises ScenarioError: a mistake in the document; the message begins with its path
    """
    values = _object(parse(content), "$", _MEMBERS, frozenset(_MEMBERS) - {"row", "column"})
    _check_schema(values["schema"])
    steps = _steps(values["steps"])
    stated = frozenset(_need(*item) for item in _items(values["needs"], "$.needs"))
    scenario = Scenario(
        id=_matching(values["id"], "$.id", _ID, "names of A-Z a-z 0-9 _ - with dots between them"),
        row=_matching(values.get("row", ""), "$.row", _TITLE, "at most 64 printable characters"),
        column=_matching(
            values.get("column", ""), "$.column", _TITLE, "at most 64 printable characters"
        ),
        steps=steps,
        needs=stated | needs_of(op for step in steps for op in step.ops),
    )
    check_domain(scenario, sapphire_rapids())
    return scenario


def _check_schema(value: object) -> None:
    if value != SCHEMA:
        why = f"; {_OLD[value]}" if isinstance(value, str) and value in _OLD else ""
        raise _wrong("$.schema", f"expected {SCHEMA!r}, not {shown(value)}{why}")


def paths(scenario: Scenario) -> Iterator[tuple[str, Op]]:
    """Yield each op with its path in the document."""
    for number, step in enumerate(scenario.steps):
        yield f"$.steps[{number}].op", step.op
        for place, observer in enumerate(step.observers):
            yield f"$.steps[{number}].observers[{place}]", observer


def _steps(value: object) -> tuple[ScenarioStep, ...]:
    found = _items(value, "$.steps")
    if not 0 < len(found) <= MOST_STEPS:
        raise _wrong("$.steps", f"expected 1 to {MOST_STEPS} steps, not {len(found)}")
    steps = tuple(_step(*item) for item in found)
    calls = sum(len(step.ops) for step in steps)
    if calls > MOST_CALLS:
        raise _wrong("$.steps", f"expected at most {MOST_CALLS} ops and observers, not {calls}")
    return steps


def _step(value: object, path: str) -> ScenarioStep:
    values = _object(value, path, _STEP_MEMBERS, frozenset({"op"}))
    observers = _items(values.get("observers", []), f"{path}.observers")
    return ScenarioStep(_op(values["op"], f"{path}.op"), tuple(_op(*item) for item in observers))


def _op(value: object, path: str) -> Op:
    return read_op(_plain_object(value, path), path)


def read_op(members: dict[str, Any], path: str) -> Op:
    """Return the op that :func:`~kvmprobe.scenarios.ops.encode` wrote, as JSON has it.

    :raises ScenarioError: no such op, or a field that it cannot have
    """
    if "op" not in members:
        raise _wrong(path, "has no op")
    name = members["op"]
    op_class = registry().get(name) if isinstance(name, str) else None
    if op_class is None:
        raise _wrong(f"{path}.op", f"no op is called {shown(name)}; `kvmprobe ops` lists them")
    allowed = kinds(op_class)
    _check_members(members, path, ("op", *allowed), required(op_class))
    values: dict[str, Any] = {}
    for field, kind in allowed.items():
        if field in members:
            try:
                values[field] = kind.load(members[field])
            except Wrong as wrong:
                raise _wrong(f"{path}.{field}{wrong.where}", wrong.what) from None
    return op_class(**values)


def _need(value: object, path: str) -> Need:
    if not isinstance(value, str) or value not in _NEEDS:
        raise _wrong(path, f"expected one of {', '.join(_NEEDS)}; not {shown(value)}")
    return _NEEDS[value]


def check_domain(scenario: Scenario, host: HostProfile) -> None:
    """Check that the model can judge each op on a host; nothing runs.

    :raises ScenarioError: it cannot judge one; the message begins with the op's path
    """
    domain = Domain(host)
    for path, op in paths(scenario):
        try:
            domain.follow(op)
        except ScenarioError as error:
            raise _wrong(path, str(error)) from error


def _object(
    value: object, path: str, allowed: tuple[str, ...], needed: frozenset[str]
) -> dict[str, Any]:
    members = _plain_object(value, path)
    _check_members(members, path, allowed, needed)
    return members


def _plain_object(value: object, path: str) -> dict[str, Any]:
    if not isinstance(value, Members):
        raise _wrong(path, f"expected an object, not {kind_of(value)}")
    members: dict[str, Any] = {}
    for name, member in value.pairs:
        if name in members:
            raise _wrong(path, f"has {shown(name)} twice")
        members[name] = member
    return members


def _check_members(
    members: dict[str, Any], path: str, allowed: tuple[str, ...], needed: frozenset[str]
) -> None:
    for name in members:
        if name not in allowed:
            raise _wrong(path, f"has no member {shown(name)}, but {', '.join(allowed)}")
    missing = [name for name in allowed if name in needed and name not in members]
    if missing:
        raise _wrong(path, f"lacks {', '.join(missing)}")


def _items(value: object, path: str) -> list[tuple[object, str]]:
    if not isinstance(value, list):
        raise _wrong(path, f"expected a list, not {kind_of(value)}")
    return [(item, f"{path}[{place}]") for place, item in enumerate(value)]


def _matching(value: object, path: str, pattern: re.Pattern[str], expected: str) -> str:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise _wrong(path, f"expected {expected}, not {shown(value)}")
    return value


def _wrong(path: str, what: str) -> ScenarioError:
    return ScenarioError(f"{path}: {what}")
