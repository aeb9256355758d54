"""The registered ops as text."""

from __future__ import annotations

from kvmprobe.scenarios.ops import registry


def op_lines() -> list[str]:
    """Return name and kernel call of each op, and below it its errnos and sources."""
    ops = sorted(registry().items())
    width = max(len(name) for name, _ in ops)
    lines: list[str] = []
    for name, op in ops:
        lines.append(f"{name:{width}}  {op.kernel_call}")
        lines += [f"{'':{width}}    {errno}: {meaning}" for errno, meaning in op.errnos.items()]
        lines += [f"{'':{width}}    see {source}" for source in op.cites]
    return lines
