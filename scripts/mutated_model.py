"""Put a mutant into the model of this process, which must be one of its own.

A mutated function gets its new code.  What a module computes when it is imported (a constant, an
enumeration, a default of a class) may be anywhere by now: the package is imported again.
"""

from __future__ import annotations

import sys
from importlib.abc import InspectLoader, MetaPathFinder
from importlib.util import spec_from_loader
from inspect import unwrap
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.machinery import ModuleSpec
    from types import FunctionType, ModuleType

PACKAGE = "kvmprobe"


def function_at(namespace: dict[str, Any], dotted: str) -> FunctionType:
    """Return the function of a dotted name in a module, or the one that it lies in."""
    first, *rest = dotted.split(".")
    found: Any = namespace[first]
    while rest and isinstance(found, type):
        found = vars(found)[rest.pop(0)]
        # A property, a cached property, a class method.
        for attribute in ("fget", "func", "__func__"):
            found = getattr(found, attribute, found)
    return cast("FunctionType", unwrap(found))


def exchange(function: FunctionType, dotted: str, source: str) -> None:
    """Give a function the code and the defaults that it has in another source of its module."""
    other: dict[str, Any] = {"__name__": function.__module__}
    exec(compile(source, function.__module__, "exec"), other)  # noqa: S102
    changed = function_at(other, dotted)
    function.__code__, function.__defaults__ = changed.__code__, changed.__defaults__
    function.__kwdefaults__ = changed.__kwdefaults__
    for clear in caches():
        clear()


def caches() -> list[Callable[[], None]]:
    """Return what empties each cache of a function of the package."""
    return [
        value.cache_clear
        for name, module in list(sys.modules.items())
        if name.startswith(f"{PACKAGE}.")
        for value in vars(module).values()
        if hasattr(value, "cache_clear")
    ]


class _Source(MetaPathFinder, InspectLoader):
    """Finds one module in a text."""

    def __init__(self, name: str, source: str) -> None:
        self._name, self._source = name, source

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return a spec for this module alone."""
        del path, target
        return spec_from_loader(fullname, self) if fullname == self._name else None

    def is_package(self, fullname: str) -> bool:
        """Return False."""
        del fullname
        return False

    def get_source(self, fullname: str) -> str:
        """Return the text."""
        del fullname
        return self._source


def forget_package(name: str, source: str) -> None:
    """Let the package's modules be imported again, the one of this name from another source."""
    for loaded in [module for module in sys.modules if module.partition(".")[0] == PACKAGE]:
        del sys.modules[loaded]
    sys.meta_path.insert(0, _Source(name, source))
