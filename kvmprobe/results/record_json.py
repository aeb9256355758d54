"""Conversion of a record to JSON and back; journal, document and JSON lines use the same form.

The source of the target's kernel is not in it.  ``label`` is for readers, and is not read back.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from kvmprobe.errors import ScenarioError
from kvmprobe.results.codec import coder, from_json, object_schema, to_json
from kvmprobe.results.hang import Hang
from kvmprobe.results.host_variant import DEFAULT_HOST, HostVariant
from kvmprobe.results.known import known_defects
from kvmprobe.results.record import Crash, Divergence, Finding, ScenarioRecord, Target
from kvmprobe.results.step_json import STEPS_SCHEMA, steps_from_json, steps_to_json
from kvmprobe.results.verdict import Verdict
from kvmprobe.scenarios.scenario_id import row_and_column_of

if TYPE_CHECKING:
    from collections.abc import Mapping

# Report formats rely on it: names are stable and dotted.
_ID = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")
_STRINGS: Any = tuple[str, ...]
_TYPES: Mapping[str, Any] = {
    "verdict": Verdict,
    "reason": str,
    "known": _STRINGS,
    "expected_defects": _STRINGS,
    "divergences": tuple[Divergence, ...],
    "findings": tuple[Finding, ...],
    "crash": Crash | None,
    "hang": Hang | None,
    "duration": float,
}
_TEXT = coder(str).schema
# Members that a record need not have.
OPTIONAL = ("variant",)
RECORD_SCHEMA = object_schema(
    {
        "id": _TEXT | {"pattern": f"^{_ID.pattern}$"},
        "target": {"enum": ["host", "lab"], "description": "this host, or the emulated one"},
        "kernel": _TEXT | {"description": "its release"},
        "label": _TEXT | {"description": "the verdict, and what is known of it"},
        "variant": coder(HostVariant).schema
        | {"description": "how the emulated host differs from the default one"},
        **{name: coder(of).schema for name, of in _TYPES.items()},
        **STEPS_SCHEMA,
    },
    optional=OPTIONAL,
)


def record_to_json(record: ScenarioRecord) -> dict[str, Any]:
    """Return JSON-ready data."""
    return {
        "id": record.id,
        "target": record.target.kind,
        "kernel": record.target.kernel,
        "label": record.label,
        **_variant(record.target),
        **{name: to_json(of, getattr(record, name)) for name, of in _TYPES.items()},
        **steps_to_json(record.steps),
    }


def _variant(target: Target) -> dict[str, Any]:
    """Return the member that only a record of another host than the default has."""
    differs = target.variant != DEFAULT_HOST
    return {"variant": to_json(HostVariant, target.variant)} if differs else {}


def record_from_json(data: Mapping[str, Any], source: str = "") -> ScenarioRecord:
    """Return the record that ``data`` describes.

    :param source: where the target's kernel came from
    :raises ScenarioError: a member is missing or has a wrong value
    """
    try:
        return _record(data, source)
    except KeyError as error:
        raise ScenarioError(f"{_named(data)}: {error.args[0]!r} is missing") from error
    except (ScenarioError, ValueError, RecursionError) as error:
        raise ScenarioError(f"{_named(data)}: {error}") from error


def _named(data: Mapping[str, Any]) -> str:
    return f"the record of {data.get('id', 'a scenario without id')!s:.80}"


def _record(data: Mapping[str, Any], source: str) -> ScenarioRecord:
    scenario_id, kind, kernel = (
        from_json(str, data[name], f"$.{name}") for name in ("id", "target", "kernel")
    )
    if not _ID.fullmatch(scenario_id):
        raise ValueError("its id may have only letters, digits, '_', '-' and dots")
    variant = from_json(HostVariant, data.get("variant", {}), "$.variant")
    row, column = row_and_column_of(scenario_id)
    read = {name: from_json(of, data[name], f"$.{name}") for name, of in _TYPES.items()}
    for finding in read["findings"]:
        _check_defects(finding.known)
    _check_defects((*read["known"], *read["expected_defects"]))
    return ScenarioRecord(
        id=scenario_id,
        row=row,
        column=column,
        target=Target(kind, kernel, source, variant),
        steps=steps_from_json(data),
        **read,
    )


def _check_defects(ids: tuple[str, ...]) -> None:
    known = {defect.id for defect in known_defects().values()}
    for defect in ids:
        if defect not in known:
            raise ValueError(f"unknown defect {defect!r}: was it written by a newer kvmprobe?")
