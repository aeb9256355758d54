"""The ops as text, and the JSON Schema of scenario documents."""

from __future__ import annotations

import json

from kvmprobe.errors import errno_name
from kvmprobe.scenarios.document_schema import document_schema
from kvmprobe.scenarios.ops import registry


def op_lines() -> list[str]:
    """Return the name and the kernel call of each op, then its errnos and sources."""
    ops = sorted(registry().items())
    width = max(len(name) for name, _ in ops)
    lines: list[str] = []
    for name, op in ops:
        lines.append(f"{name:{width}}  {op.kernel_call}")
        lines += [
            f"{'':{width}}    {errno_name(number)}: {meaning}"
            for number, meaning in op.errno_meanings().items()
        ]
        lines += [f"{'':{width}}    see {source}" for source in op.sources()]
    return lines


def schema_lines() -> list[str]:
    """Return the JSON Schema of scenario documents."""
    return json.dumps(document_schema(), indent=1).splitlines()
