"""A rule of the model as text, with and without kvmprobe's own numbers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kvmprobe.model.rule import Rule

_NUMBERED = re.compile(r" \(INV-\d+(?:, INV-\d+)*\)")
_PATH = re.compile(r"(?:[\w-]+/)+[\w-]+\.c(?=: \w)")


def rule_text(rule: Rule) -> str:
    """Return the statement, the invariants and the first source of a rule."""
    numbers = f" ({', '.join(rule.invariants)})" if rule.invariants else ""
    return f"{rule.statement}{numbers}: {rule.sources[0]}"


def without_numbers(text: str) -> str:
    """Return the text of a rule without kvmprobe's own numbers."""
    return _NUMBERED.sub("", text)


def files_in(text: str) -> tuple[str, ...]:
    """Return the kernel files that the text of a rule names, in its order."""
    return tuple(dict.fromkeys(_PATH.findall(text)))
