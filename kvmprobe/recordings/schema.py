"""The JSON Schema of one line of a recording, and the limits of the format."""

from __future__ import annotations

from kvmprobe.recordings.lines import LINES
from kvmprobe.results.codec import Schema, coder, object_schema
from kvmprobe.results.schema import RECORDING

ARCHITECTURE = "x86_64"
HOST = "host"
MOST_LINE = 1 << 20
"""Bytes of a line."""
WINDOW = 1024
"""A line refers to one of so many payloads before it."""
MOST_OBJECTS = 1 << 18
MOST_TEXT = 256
"""Characters of an object's id and link."""
MOST_PROCESSES = 1 << 20


def recording_schema() -> Schema:
    """Return the schema of a line."""
    kinds = [_line(name, coder(of).schema) for name, of in LINES.items()]
    host = object_schema({"type": {"const": HOST}, "facts": {"type": "object"}})
    host["description"] = "What the recorder found out about the host, as a run's journal has it"
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": RECORDING,
        "oneOf": [*kinds, host],
    }


def _line(name: str, fields: Schema) -> Schema:
    members = {"type": {"const": name}, **fields["properties"]}
    if name == "recording":
        members["schema"] = {"const": RECORDING}
    return fields | {"properties": members, "required": ["type", *fields["required"]]}
