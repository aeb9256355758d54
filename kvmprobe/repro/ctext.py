"""Values as C text."""

from __future__ import annotations

import re
import textwrap
from typing import TYPE_CHECKING

from kvmprobe.abi.numbers import Msr
from kvmprobe.xstate.features import AVX512, FPSSE, XTILE, XFeature, numbers

if TYPE_CHECKING:
    from collections.abc import Iterable

_WIDTH = 112
_BYTES_PER_LINE = 16
# Those that c/constants.c names.
_NAMED = frozenset(numbers(AVX512 | FPSSE | XTILE | XFeature.YMM.bit | XFeature.PKRU.bit))
_MOST_NAMES = 3


def number(value: int) -> str:
    """Return a u64: decimal if small, else hexadecimal with the suffix it needs."""
    if value < 10:
        return str(value)
    return f"{value:#x}" if value < 1 << 31 else f"{value:#x}ULL"


def bitmap(value: int) -> str:
    """Return a bitmap of components by their kernel names, if they are few and have such."""
    present = numbers(value)
    if present and len(present) <= _MOST_NAMES and _NAMED.issuperset(present):
        return " | ".join(f"XFEATURE_MASK_{XFeature(nr).name}" for nr in present)
    return number(value)


def msr(index: int) -> str:
    """Return an MSR's kernel name, or its number."""
    return f"MSR_{Msr(index).name}" if index in set(Msr) else f"{index:#x}"


def string(text: str) -> str:
    """Return a string literal."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    plain = "".join(c if " " <= c <= "~" else "?" for c in escaped)
    return f'"{plain}"'


def comment(text: str, indent: str = "") -> str:
    """Return a comment in the kernel's style; ``text`` is reflowed line by line."""
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
    """Return the bytes of an initializer, line by line."""
    return "\n".join(
        indent + " ".join(f"0x{byte:02x}," for byte in content[start : start + _BYTES_PER_LINE])
        for start in range(0, len(content), _BYTES_PER_LINE)
    )


def identifier(text: str) -> str:
    """Return text as a C identifier."""
    name = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")
    return name if name[:1].isalpha() else f"nr_{name}"


def block(lines: Iterable[str]) -> str:
    """Return lines as the body of a function."""
    return "\n".join(f"\t{line}" if line else "" for line in lines)


class Names:
    """Hands out identifiers, each once, and none of those that are taken already."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._taken = set(taken)

    def fresh(self, preferred: str) -> str:
        """Return the identifier, followed by a number if it is taken."""
        name, count = preferred, 1
        while name in self._taken:
            count += 1
            name = f"{preferred}_{count}"
        self._taken.add(name)
        return name
