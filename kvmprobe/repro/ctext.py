"""Renders values as C text."""

from __future__ import annotations

import re
import textwrap
from typing import TYPE_CHECKING

from kvmprobe.abi.numbers import Msr
from kvmprobe.xstate.features import XFeature, numbers

if TYPE_CHECKING:
    from collections.abc import Iterable

_WIDTH = 112
_BYTES_PER_LINE = 16
_MOST_NAMES = 3


def number(value: int) -> str:
    """Return a u64: in decimal if small, else in hexadecimal with the necessary suffix."""
    if value < 10:
        return str(value)
    return f"{value:#x}" if value < 1 << 31 else f"{value:#x}ULL"


def bitmap(value: int) -> str:
    """Return a bitmap of components: by kernel names if they are few and named, else a number."""
    present = numbers(value)
    if present and len(present) <= _MOST_NAMES and set(XFeature).issuperset(present):
        return " | ".join(f"XFEATURE_MASK_{XFeature(nr).name}" for nr in present)
    return number(value)


def msr(index: int) -> str:
    """Return an MSR's name in the kernel, or its number."""
    return f"MSR_{Msr(index).name}" if index in set(Msr) else f"{index:#x}"


def string(text: str) -> str:
    """Return a string literal."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    plain = "".join(c if " " <= c <= "~" else "?" for c in escaped)
    return f'"{plain}"'


def comment(text: str, indent: str = "") -> str:
    """Return a comment in the kernel's style; each line of ``text`` is wrapped."""
    safe = text.replace("*/", "* /").replace("/*", "/ *")
    lines = [
        piece
        for line in safe.splitlines()
        for piece in textwrap.wrap(line, _WIDTH, subsequent_indent=_continued(line)) or [""]
    ]
    if len(lines) == 1:
        return f"{indent}/* {lines[0]} */"
    body = [f"{indent} * {line}".rstrip() for line in lines]
    return "\n".join([f"{indent}/*", *body, f"{indent} */"])


def _continued(line: str) -> str:
    return " " * (len(line) - len(line.lstrip()))


def byte_list(content: bytes, indent: str) -> str:
    """Return bytes as the lines of an initializer."""
    return "\n".join(
        indent + " ".join(f"0x{byte:02x}," for byte in content[start : start + _BYTES_PER_LINE])
        for start in range(0, len(content), _BYTES_PER_LINE)
    )


def identifier(text: str) -> str:
    """Return text converted to a C identifier."""
    name = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")
    return name if name[:1].isalpha() else f"nr_{name}"


def block(lines: Iterable[str]) -> str:
    """Return lines as the body of a function."""
    return "\n".join(f"\t{line}" if line else "" for line in lines)


class Names:
    """Returns each identifier only once, and none of those already taken."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._taken = set(taken)

    def fresh(self, preferred: str) -> str:
        """Return the identifier, with a number appended if it is taken."""
        name, count = preferred, 1
        while name in self._taken:
            count += 1
            name = f"{preferred}_{count}"
        self._taken.add(name)
        return name
