"""Which functions of the package a computation calls.

A cached function that returns a kept result counts as having called what it called before.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import CodeType, FrameType

PACKAGE = "kvmprobe"

Function = tuple[str, str]
"""A module and a dotted name in it."""


class Calls:
    """Notes what is called in the computations that it makes."""

    def __init__(self) -> None:
        self._functions: dict[CodeType, Function | None] = {}
        self._caches = {cache.__wrapped__.__code__: cache for cache in _caches()}
        self._below: dict[CodeType, set[CodeType]] = {}
        self._sets: dict[frozenset[Function], frozenset[Function]] = {}
        self._open: list[tuple[set[CodeType], dict[CodeType, int]]] = []

    def during(self, compute: Callable[[], Any]) -> tuple[Any, frozenset[Function]]:
        """Return the result of a computation, and the functions that it called."""
        self._open = [(set(), self._hits())]
        sys.setprofile(self._note)
        try:
            result = compute()
        finally:
            sys.setprofile(None)
        codes = self._close()
        found = frozenset(name for code in codes if (name := self._function(code)))
        return result, self._sets.setdefault(found, found)

    def _note(self, frame: FrameType, event: str, _argument: object) -> None:
        code = frame.f_code
        if event == "call":
            self._open[-1][0].add(code)
            if code in self._caches:
                self._open.append((set(), self._hits()))
        elif event == "return" and code in self._caches:
            called = self._close()
            self._below.setdefault(code, set()).update(called)
            self._open[-1][0].update(called)

    def _close(self) -> set[CodeType]:
        called, before = self._open.pop()
        for code, hits in self._hits().items():
            if hits != before[code]:
                called |= {code, *self._below.get(code, ())}
        return called

    def _hits(self) -> dict[CodeType, int]:
        return {code: cache.cache_info().hits for code, cache in self._caches.items()}

    def _function(self, code: CodeType) -> Function | None:
        if code not in self._functions:
            self._functions[code] = _named(code)
        return self._functions[code]


def _named(code: CodeType) -> Function | None:
    parts = Path(code.co_filename).with_suffix("").parts
    if PACKAGE not in parts:
        return None
    start = len(parts) - 1 - parts[::-1].index(PACKAGE)
    names = [name for name in code.co_qualname.split(".") if not name.startswith("<")]
    module = ".".join(part for part in parts[start:] if part != "__init__")
    return module, ".".join(names)


def _caches() -> Iterator[Any]:
    for name, module in list(sys.modules.items()):
        if name.startswith(f"{PACKAGE}.model."):
            for value in vars(module).values():
                if hasattr(value, "cache_info") and value.__module__ == name:
                    yield value
