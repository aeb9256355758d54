"""Kinds of op fields: which values a document may give a field, and how JSON writes them.

An op declares each field once, with one of these types (or an enumeration)::

    xfd: U64
    room: Room = 256

Enumerations of numbers are written by member name, enumerations of strings by value.
"""

from __future__ import annotations

import re
import struct
import sys
from dataclasses import MISSING, dataclass, fields
from enum import Enum
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, Protocol, get_args

from kvmprobe.abi.numbers import U32_MAX
from kvmprobe.scenarios import strict_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from kvmprobe.abi.layout import Layout
    from kvmprobe.scenarios.ops import Op

NAME = re.compile(r"[A-Za-z0-9_-]{1,32}")
_LARGEST_SIZE = 1 << 16
_MOST_ENTRIES = 1024


class Wrong(Exception):
    """An illegal value of a field: its place within the field, and the reason."""

    def __init__(self, where: str, what: str) -> None:
        super().__init__(f"{where}: {what}")
        self.where = where
        self.what = what


class Kind(Protocol):
    """What values a field may have."""

    def load(self, value: object) -> Any:  # noqa: ANN401 - fields of any type
        """Return the field's value for a JSON value.

        :raises Wrong: the field cannot have it
        """

    def dump(self, value: Any) -> object:  # noqa: ANN401 - fields of any type
        """Return the JSON value for a field's value."""

    def schema(self) -> dict[str, Any]:
        """Return the kind as JSON Schema."""


def limits(kind: Kind) -> tuple[Any, ...]:
    """Return the least and largest number of a kind, or each member of an enumeration."""
    match kind:
        case Number(largest):
            return (0, largest)
        case Choice():
            return kind.members
        case _:
            return ()


@dataclass(frozen=True, slots=True)
class Number:
    """An integer from 0 to ``largest``."""

    largest: int

    def load(self, value: object) -> int:
        """Return the value."""
        if isinstance(value, bool) or not isinstance(value, int):
            raise Wrong("", f"expected an integer, not {kind_of(value)}")
        if not 0 <= value <= self.largest:
            raise Wrong("", f"expected 0 to {self.largest}, not {shown(value)}")
        return value

    def dump(self, value: int) -> int:
        """Return the value."""
        return value

    def schema(self) -> dict[str, Any]:
        """Return the kind as JSON Schema."""
        return {"type": "integer", "minimum": 0, "maximum": self.largest}


@dataclass(frozen=True, slots=True)
class Text:
    """A name that the scenario gives to a descriptor or a task."""

    def load(self, value: object) -> str:
        """Return the name."""
        if not isinstance(value, str):
            raise Wrong("", f"expected a name, not {kind_of(value)}")
        if not NAME.fullmatch(value):
            raise Wrong("", f"expected 1 to 32 of A-Z a-z 0-9 _ -, not {shown(value)}")
        return value

    def dump(self, value: str) -> str:
        """Return the name."""
        return value

    def schema(self) -> dict[str, Any]:
        """Return the kind as JSON Schema."""
        return {"type": "string", "pattern": f"^{NAME.pattern}$"}


@dataclass(frozen=True, slots=True)
class TextOrNone:
    """As :class:`Text`; the empty string is the scenario's own process."""

    def load(self, value: object) -> str:
        """Return the name."""
        return "" if value == "" else Text().load(value)

    def dump(self, value: str) -> str:
        """Return the name."""
        return value

    def schema(self) -> dict[str, Any]:
        """Return the kind as JSON Schema."""
        return {"type": "string", "pattern": f"^({NAME.pattern})?$"}


class Choice:
    """One of some members of an enumeration."""

    def __init__(self, members: Iterable[Enum]) -> None:
        self._members = {_written(member): member for member in members}
        self.members = tuple(self._members.values())

    def load(self, value: object) -> Enum:
        """Return the member."""
        if not isinstance(value, str) or value not in self._members:
            raise Wrong("", f"expected one of {', '.join(self._members)}; not {shown(value)}")
        return self._members[value]

    def dump(self, value: Enum) -> str:
        """Return the member's name or value."""
        return _written(value)

    def schema(self) -> dict[str, Any]:
        """Return the kind as JSON Schema."""
        return {"enum": list(self._members)}


class Items:
    """A list of at most ``most`` items of one kind."""

    def __init__(self, item: Kind, most: int = _MOST_ENTRIES) -> None:
        self.item, self.most = item, most

    def load(self, value: object) -> tuple[Any, ...]:
        """Return the items."""
        if not isinstance(value, list):
            raise Wrong("", f"expected a list, not {kind_of(value)}")
        if len(value) > self.most:
            raise Wrong("", f"expected at most {self.most} items, not {len(value)}")
        return _loaded(zip([self.item] * len(value), value, strict=True))

    def dump(self, value: Iterable[Any]) -> list[object]:
        """Return the items' JSON values."""
        return [self.item.dump(item) for item in value]

    def schema(self) -> dict[str, Any]:
        """Return the kind as JSON Schema."""
        return {"type": "array", "items": self.item.schema(), "maxItems": self.most}


class Row:
    """A list with one item of each kind."""

    def __init__(self, *kinds: Kind) -> None:
        self.kinds = kinds

    def load(self, value: object) -> tuple[Any, ...]:
        """Return the items."""
        if not isinstance(value, list):
            raise Wrong("", f"expected a list, not {kind_of(value)}")
        if len(value) != len(self.kinds):
            raise Wrong("", f"expected {len(self.kinds)} items, not {len(value)}")
        return _loaded(zip(self.kinds, value, strict=True))

    def dump(self, value: Iterable[Any]) -> list[object]:
        """Return the items' JSON values."""
        return [kind.dump(item) for kind, item in zip(self.kinds, value, strict=True)]

    def schema(self) -> dict[str, Any]:
        """Return the kind as JSON Schema."""
        length, kinds = len(self.kinds), [kind.schema() for kind in self.kinds]
        return {"type": "array", "prefixItems": kinds, "minItems": length, "maxItems": length}


Values = tuple[tuple[str, int], ...]


class Members:
    """Some of a structure's numbers: an object of names and values; a value in the member's width.

    In Python it is a tuple of (name, value) in the structure's order.
    """

    def __init__(self, layout: Layout, *other: str) -> None:
        """Create the kind.

        :param other: members that the op has a field of its own for
        """
        self.widths = {
            name: Number((1 << 8 * struct.calcsize(f"={code}")) - 1)
            for name, (_, code) in layout.numbers.items()
            if name not in other
        }

    def load(self, value: object) -> Values:
        """Return names and values."""
        pairs = value.pairs if isinstance(value, strict_json.Members) else value
        if isinstance(pairs, dict):
            pairs = list(pairs.items())
        if not isinstance(pairs, list) or pairs is value:
            raise Wrong("", f"expected an object, not {kind_of(value)}")
        given: dict[str, int] = {}
        for name, member in pairs:
            if name not in self.widths:
                raise Wrong(f".{name}", f"no such member; known: {', '.join(self.widths)}")
            if name in given:
                raise Wrong(f".{name}", "is there twice")
            given[name] = self._value(name, member)
        return tuple((name, given[name]) for name in self.widths if name in given)

    def _value(self, name: str, value: object) -> int:
        try:
            return self.widths[name].load(value)
        except Wrong as wrong:
            raise Wrong(f".{name}", wrong.what) from None

    def dump(self, value: Iterable[tuple[str, int]]) -> dict[str, object]:
        """Return the object."""
        return dict(value)

    def schema(self) -> dict[str, Any]:
        """Return the kind as JSON Schema."""
        properties = {name: kind.schema() for name, kind in self.widths.items()}
        return {"type": "object", "properties": properties, "additionalProperties": False}


U64_MAX = (1 << 64) - 1
_U32, _U64 = Number(U32_MAX), Number(U64_MAX)

# One for each width that a member of a structure has.
U8 = Annotated[int, Number(0xFF)]
U16 = Annotated[int, Number(0xFFFF)]
U32 = Annotated[int, _U32]
U64 = Annotated[int, _U64]
Name = Annotated[str, Text()]
Caller = Annotated[str, TextOrNone()]
# Memory that one call takes: bytes, and entries of at most 40 bytes.
Size = Annotated[int, Number(_LARGEST_SIZE)]
Room = Annotated[int, Number(_MOST_ENTRIES)]
# struct kvm_msr_entry and kvm_xcr: index and value.
Entries = Annotated[tuple[tuple[int, int], ...], Items(Row(_U32, _U64))]
Indices = Annotated[tuple[int, ...], Items(_U32)]


@cache
def kinds(op_class: type[Op]) -> Mapping[str, Kind]:
    """Return the kind of each field, by name.

    :raises TypeError: a field's type declares no kind
    """
    module = sys.modules[op_class.__module__]
    return {
        field.name: _kind(op_class, field.name, getattr(module, str(field.type), None))
        for field in fields(op_class)  # type: ignore[arg-type]
    }


def _kind(op_class: type[Op], name: str, declared: Any) -> Kind:  # noqa: ANN401 - a type
    if isinstance(declared, type) and issubclass(declared, Enum):
        return Choice(declared)
    kind: Kind
    for kind in get_args(declared)[1:]:
        return kind
    raise TypeError(f"{op_class.__name__}.{name} declares no kind")


def required(op_class: type[Op]) -> frozenset[str]:
    """Return the fields without a default."""
    return frozenset(
        f.name
        for f in fields(op_class)  # type: ignore[arg-type]
        if f.default is MISSING and f.default_factory is MISSING
    )


def kind_of(value: object) -> str:
    """Name the JSON type of a value."""
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


def _written(member: Enum) -> str:
    return member.value if isinstance(member, str) else member.name


def _loaded(items: Iterable[tuple[Kind, object]]) -> tuple[Any, ...]:
    values = []
    for place, (kind, item) in enumerate(items):
        try:
            values.append(kind.load(item))
        except Wrong as wrong:
            raise Wrong(f"[{place}]{wrong.where}", wrong.what) from None
    return tuple(values)
