"""The functions whose coverage is measured: ``scope.toml``.  Pure but for reading that file.

The compiler splits and clones functions: ``f.cold``, ``f.part.0``, ``f.isra.0``, ``f.constprop.0``.
These belong to ``f``.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Self

KERNEL = "vmlinux"
SCOPE_FILE = Path(__file__).with_name("scope.toml")
_SUFFIXES = re.compile(r"(?:\.(?:cold|part|isra|constprop)(?:\.\d+)?)+$")


def source_name(symbol: str) -> str:
    """Return the name of the function that a symbol is a part or a clone of."""
    return _SUFFIXES.sub("", symbol)


@dataclass(frozen=True, slots=True)
class Group:
    """Functions that are in scope for one reason.

    :ivar module: ``kvm``, ``kvm_intel``, or ``vmlinux`` for the kernel itself
    :ivar functions: patterns of names in C, as :mod:`fnmatch` has them
    """

    reason: str
    module: str
    functions: tuple[str, ...]

    def has(self, module: str, name: str) -> bool:
        """Return True if a function is in this group."""
        return module == self.module and any(fnmatchcase(name, each) for each in self.functions)


@dataclass(frozen=True, slots=True)
class Scope:
    """All groups, in the order of the file."""

    groups: tuple[Group, ...]

    @classmethod
    @cache
    def load(cls) -> Self:
        """Read ``scope.toml``."""
        text = SCOPE_FILE.read_text(encoding="utf-8")
        return cls(
            tuple(
                Group(each["reason"], each["module"], tuple(each["functions"]))
                for each in tomllib.loads(text)["group"]
            )
        )

    def names_in(self, module: str) -> str:
        """Return a regular expression for the names of the functions of a module in scope."""
        patterns = (f for group in self.groups if group.module == module for f in group.functions)
        return "(?:" + "|".join(re.escape(each).replace(r"\*", r"\w*") for each in patterns) + ")"

    def group_of(self, module: str, symbol: str) -> Group | None:
        """Return the first group that has the function of this symbol."""
        name = source_name(symbol)
        return next((group for group in self.groups if group.has(module, name)), None)
