"""The schemas of a kept run, and the error for a document with another schema."""

from __future__ import annotations

import re

RUN, LINES, JOURNAL = "kvmprobe-run/2", "kvmprobe-lines/2", "kvmprobe-journal/2"
RECORDING = "kvmprobe-recording/1"
_SCHEMA = re.compile(r"(kvmprobe-[a-z]{1,32})/(\d{1,9})")


def refusal(found: object, *wanted: str) -> str:
    """Return the reason why a document cannot be read.

    :param found: its member ``schema``
    :param wanted: the schemas that can be read
    """
    match = _SCHEMA.fullmatch(found) if isinstance(found, str) else None
    for schema in wanted:
        name, _, version = schema.partition("/")
        if match and match[1] == name and int(match[2]) != int(version):
            older = int(match[2]) < int(version)
            age, todo = (
                ("too old", "read it with the kvmprobe that wrote it, or run the scenarios again")
                if older
                else ("from a newer kvmprobe", "read it with that one")
            )
            return f"{age}: it is {match[0]}, this kvmprobe reads {schema}; {todo}"
    return f"it does not begin with the schema {' or '.join(wanted)}"
