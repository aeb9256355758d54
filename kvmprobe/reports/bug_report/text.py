"""Plain text for kernel lists: wrapped, without control characters from a target.

:see: Documentation/process/email-clients.rst, Documentation/process/security-bugs.rst
"""

from __future__ import annotations

import re
import textwrap
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

WIDTH = 75
INDENT = "  "
SCISSORS = "-- >8 --"
# git-mailinfo(1) reads a line of dashes with >8, 8<, >% or %< as the start of the mail.
_SCISSORS = re.compile("(?<=[8%])<|>(?=[8%])")

_wrap = partial(textwrap.wrap, width=WIDTH, break_long_words=False, break_on_hyphens=False)


def paragraph(text: str) -> list[str]:
    """Return text as wrapped lines."""
    return _wrap(plain(text))


def item(text: str) -> list[str]:
    """Return an item of a list, wrapped; its other lines are indented more."""
    return _wrap(plain(text), initial_indent=INDENT, subsequent_indent=INDENT * 3)


def row(lead: str, text: str) -> list[str]:
    """Return a row of a table, with its last column wrapped."""
    return _wrap(plain(text), initial_indent=lead, subsequent_indent=" " * len(lead))


def header(name: str, values: Sequence[str]) -> list[str]:
    """Return a mail's header, folded between its values (RFC 5322, 2.2.3)."""
    if len(values) == 1:
        return _wrap(plain(f"{name}: {values[0]}"), subsequent_indent=" ")
    lines = [f"{name}:"]
    for number, value in enumerate(values, 1):
        text = plain(value) + ("," if number < len(values) else "")
        if len(lines[-1]) + 1 + len(text) > WIDTH and number > 1:
            lines.append("")
        lines[-1] += f" {text}"
    return lines


def quoted(line: str) -> str:
    """Return a line of a target's log, indented and not wrapped."""
    return f"{INDENT}{escaped(line)}"


def plain(text: str) -> str:
    """Return text as one line; each run of white space becomes one space."""
    return escaped(" ".join(text.split()))


def escaped(text: str) -> str:
    r"""Return text with control characters and scissors as escapes: ``\x1b``."""
    shown = "".join(
        c if c.isprintable() else " " if c == "\t" else c.encode("unicode_escape").decode("ascii")
        for c in text
    )
    return _SCISSORS.sub(_as_escape, shown)


def _as_escape(found: re.Match[str]) -> str:
    return rf"\x{ord(found[0]):x}"
