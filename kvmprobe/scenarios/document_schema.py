"""JSON Schema of scenario documents, from the registry of ops."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvmprobe.scenarios.document import MOST_STEPS, SCHEMA
from kvmprobe.scenarios.op_fields import kinds, required
from kvmprobe.scenarios.ops import registry
from kvmprobe.scenarios.scenario import Need

if TYPE_CHECKING:
    from kvmprobe.scenarios.ops import Op

_TITLE = {"type": "string", "pattern": "^[ -~]{0,64}$"}
_PART = "[A-Za-z0-9_-]{1,64}"


def document_schema() -> dict[str, Any]:
    """Return the schema; a document that fits it can still refer to a name that is not bound."""
    op = {"$ref": "#/$defs/op"}
    step = _object({"op": op, "observers": {"type": "array", "items": op}}, ["op"])
    members = {
        "schema": {"const": SCHEMA},
        "id": {"type": "string", "pattern": rf"^{_PART}(\.{_PART}){{0,7}}$"},
        "row": _TITLE,
        "column": _TITLE,
        "needs": {"type": "array", "items": {"enum": sorted(need.name.lower() for need in Need)}},
        "steps": {"type": "array", "minItems": 1, "maxItems": MOST_STEPS, "items": step},
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": SCHEMA,
        **_object(members, ["schema", "id", "needs", "steps"]),
        "$defs": {"op": {"oneOf": [_op(op_class) for _, op_class in sorted(registry().items())]}},
    }


def _op(op_class: type[Op]) -> dict[str, Any]:
    fields = {name: kind.schema() for name, kind in kinds(op_class).items()}
    members = {"op": {"const": op_class.name}, **fields}
    return _object(members, ["op", *sorted(required(op_class))])


def _object(members: dict[str, Any], needed: list[str]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": members,
        "required": needed,
        "additionalProperties": False,
    }
