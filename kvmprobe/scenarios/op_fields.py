"""What values each op's fields may have in a document: kinds of fields, told by their types."""

from __future__ import annotations

import re
import sys
from dataclasses import MISSING, dataclass, fields
from enum import Enum
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kvmprobe.scenarios.ops import Op

LARGEST = (1 << 64) - 1
# Fields that say how much memory a call takes: bytes, or entries of at most 40 bytes.
LARGEST_SIZE = 1 << 16
MOST_ITEMS = 1024
_SIZES = frozenset({"size", "room", "capacity", "stack_size"})
NAME = re.compile(r"[A-Za-z0-9_-]{1,32}")


class Wrong(Exception):
    """A value that a field cannot have: where within it, and what is wrong."""

    def __init__(self, where: str, what: str) -> None:
        super().__init__(f"{where}: {what}")
        self.where = where
        self.what = what


@dataclass(frozen=True, slots=True)
class Number:
    """An integer from 0 to ``largest``."""

    largest: int = LARGEST

    def check(self, value: object) -> None:
        """Raise :class:`Wrong` unless the field can have this value."""
        if isinstance(value, bool) or not isinstance(value, int):
            raise Wrong("", f"expected an integer, not {kind_of(value)}")
        if not 0 <= value <= self.largest:
            raise Wrong("", f"expected 0 to {self.largest}, not {shown(value)}")

    def schema(self) -> dict[str, Any]:
        """Return it as JSON Schema."""
        return {"type": "integer", "minimum": 0, "maximum": self.largest}


@dataclass(frozen=True, slots=True)
class Text:
    """The name of a descriptor, a vCPU or a task; empty where none is meant."""

    def check(self, value: object) -> None:
        """Raise :class:`Wrong` unless the field can have this value."""
        if not isinstance(value, str):
            raise Wrong("", f"expected a name, not {kind_of(value)}")
        if value and not NAME.fullmatch(value):
            raise Wrong("", f"expected at most 32 of A-Z a-z 0-9 _ -, not {shown(value)}")

    def schema(self) -> dict[str, Any]:
        """Return it as JSON Schema."""
        return {"type": "string", "pattern": "^[A-Za-z0-9_-]{0,32}$"}


@dataclass(frozen=True, slots=True)
class Choice:
    """One of some values."""

    values: tuple[int | str, ...]

    def check(self, value: object) -> None:
        """Raise :class:`Wrong` unless the field can have this value."""
        if type(value) not in {int, str} or value not in self.values:
            known = ", ".join(map(str, self.values))
            raise Wrong("", f"expected one of {known}; not {shown(value)}")

    def schema(self) -> dict[str, Any]:
        """Return it as JSON Schema."""
        return {"enum": list(self.values)}


@dataclass(frozen=True, slots=True)
class Items:
    """A list of at most MOST_ITEMS; of exactly ``length`` where that is not 0."""

    item: Number | Items
    length: int = 0

    def check(self, value: object) -> None:
        """Raise :class:`Wrong` unless the field can have this value."""
        if not isinstance(value, list):
            raise Wrong("", f"expected a list, not {kind_of(value)}")
        if self.length and len(value) != self.length:
            raise Wrong("", f"expected {self.length} items, not {len(value)}")
        if len(value) > MOST_ITEMS:
            raise Wrong("", f"expected at most {MOST_ITEMS} items, not {len(value)}")
        for place, item in enumerate(value):
            try:
                self.item.check(item)
            except Wrong as wrong:
                raise Wrong(f"[{place}]{wrong.where}", wrong.what) from None

    def schema(self) -> dict[str, Any]:
        """Return it as JSON Schema."""
        limits = {"maxItems": MOST_ITEMS}
        if self.length:
            limits = {"minItems": self.length, "maxItems": self.length}
        return {"type": "array", "items": self.item.schema(), **limits}


Kind = Number | Text | Choice | Items
_PLAIN: Mapping[str, Kind] = {
    "int": Number(),
    "str": Text(),
    "Pairs": Items(Items(Number(), 2)),
    "tuple[int, ...]": Items(Number()),
}


@cache
def kinds(op_class: type[Op]) -> Mapping[str, Kind]:
    """Return the kind of each field, by name.

    :raises TypeError: a field has a type that documents cannot have
    """
    return dict(_kinds(op_class))


def required(op_class: type[Op]) -> frozenset[str]:
    """Return the fields without a default."""
    return frozenset(
        f.name
        for f in fields(op_class)  # type: ignore[arg-type]
        if f.default is MISSING and f.default_factory is MISSING
    )


def _kinds(op_class: type[Op]) -> Iterator[tuple[str, Kind]]:
    for field in fields(op_class):  # type: ignore[arg-type]
        named = getattr(sys.modules[op_class.__module__], str(field.type), None)
        if isinstance(named, type) and issubclass(named, Enum):
            values = (m.value for m in named)
            yield field.name, Choice(tuple(values))
        elif field.name in _SIZES:
            yield field.name, Number(LARGEST_SIZE)
        elif str(field.type) in _PLAIN:
            yield field.name, _PLAIN[str(field.type)]
        else:
            raise TypeError(f"{op_class.__name__}.{field.name}: no kind for {field.type}")


def kind_of(value: object) -> str:
    """Name what JSON made of a value."""
    match value:
        case None:
            return "null"
        case bool():
            return "true or false"
        case str():
            return "a string"
        case int() | float():
            return f"the number {shown(value)}"
        case list():
            return "a list"
        case _:
            return "an object"


def shown(value: object) -> str:
    """Return a value, shortened."""
    text = repr(value) if not isinstance(value, int) or value.bit_length() < 1000 else "a huge one"
    return text if len(text) <= 60 else f"{text[:60]}..."
