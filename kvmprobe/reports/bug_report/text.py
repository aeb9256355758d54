"""Plain text as kernel lists expect it: wrapped, and with nothing of a target's own in control.

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
# git-mailinfo(1) takes a line of dashes and scissors for the beginning of the mail.
_LIKE_SCISSORS = re.compile(r"[\s\-]*(?:>8|8<|>%|%<)[\s\-<>8%]*")

_wrap = partial(textwrap.wrap, width=WIDTH, break_long_words=False, break_on_hyphens=False)


def paragraph(text: str) -> list[str]:
    """Return text as wrapped lines."""
    return _wrap(plain(text))


def item(text: str) -> list[str]:
    """Return one entry of a list, wrapped; what goes on is indented more."""
    return _wrap(plain(text), initial_indent=INDENT, subsequent_indent=INDENT * 3)


def row(lead: str, text: str) -> list[str]:
    """Return a table's last column behind its others, wrapped within it."""
    return _wrap(plain(text), initial_indent=lead, subsequent_indent=" " * len(lead))


def header(name: str, values: Sequence[str]) -> list[str]:
    """Return a mail's header, folded between its values (RFC 5322, 2.2.3)."""
    lines = [f"{name}:"]
    for number, value in enumerate(values, 1):
        text = plain(value) + ("," if number < len(values) else "")
        if len(lines[-1]) + 1 + len(text) > WIDTH and number > 1:
            lines.append("")
        lines[-1] += f" {text}"
    return lines


def quoted(line: str) -> str:
    """Return a line of a target's log: indented, not wrapped, not taken for anything else."""
    text = escaped(line)
    if _LIKE_SCISSORS.fullmatch(text):
        text = text.replace("-", r"\x2d").replace("8", r"\x38").replace("%", r"\x25")
    return f"{INDENT}{text}"


def plain(text: str) -> str:
    """Return text of a record as one line: white space is one blank."""
    return escaped(" ".join(text.split()))


def escaped(text: str) -> str:
    r"""Return text with what a terminal or a mail would not show as escapes: ``\x1b``."""
    return "".join(
        c if c.isprintable() else " " if c == "\t" else c.encode("unicode_escape").decode("ascii")
        for c in text
    )
