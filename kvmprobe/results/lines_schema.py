"""The JSON Schema of JSON lines; ``$defs/scenario`` is also a record of the run's document."""

from __future__ import annotations

from typing import Any

from kvmprobe.results.codec import Schema, coder, object_schema
from kvmprobe.results.record_json import OPTIONAL, RECORD_SCHEMA
from kvmprobe.results.schema import LINES
from kvmprobe.results.verdict import Verdict

_STRINGS: Any = tuple[str, ...]


def lines_schema() -> Schema:
    """Return the schema of one line: of the run, of a scenario, or of the summary."""
    text, number, texts = (coder(of).schema for of in (str, int, _STRINGS))
    count = number | {"minimum": 0}
    run = {
        "schema": {"const": LINES},
        "tool": text | {"description": "name and version"},
        "command": texts,
        "planned": count | {"description": "number of scenarios that should follow"},
    }
    summary = {
        "complete": {"type": "boolean", "description": "whether the run went to its end"},
        "not_completed": texts,
        "counts": object_schema({v.value: count for v in Verdict}, [v.value for v in Verdict]),
    }
    source = text | {"description": "where the kernel came from"}
    scenario = {"source": source, **RECORD_SCHEMA["properties"]}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": LINES,
        "oneOf": [_line("run", run), _line("scenario", scenario), _line("summary", summary)],
        "$defs": {"scenario": RECORD_SCHEMA, "summary": object_schema(summary)},
    }


def _line(kind: str, members: dict[str, Schema]) -> Schema:
    return object_schema({"type": {"const": kind}, **members}, OPTIONAL)
