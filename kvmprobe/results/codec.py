"""Typed values as JSON and back, by the types of their dataclasses' fields.

One form for the journal, the document and JSON lines.  A mapping of values and a set of bits are
hexadecimal strings, bytes are hexadecimal, an op is the object that a scenario document has.  Where
a field may hold one of several dataclasses, ``kind`` names it.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from enum import Enum
from functools import cache, lru_cache
from json import dumps, loads
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from kvmprobe.errors import ScenarioError
from kvmprobe.scenarios.document import read_op
from kvmprobe.scenarios.ops import Op, encode

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Coder:
    """Writes and reads values of one type.

    :ivar read: takes JSON and its path
    """

    write: Callable[[Any], Any]
    read: Callable[[Any, str], Any]


def to_json(of: Any, value: object) -> Any:  # noqa: ANN401 - a type; JSON
    """Return JSON-ready data."""
    return coder(of).write(value)


def from_json(of: Callable[..., T], data: object, path: str = "$") -> T:
    """Return the value that :func:`to_json` wrote.

    :param path: of the data, for errors
    :raises ScenarioError: no such value; the message begins with the path
    """
    read: T = coder(of).read(data, path)
    return read


def wrong(path: str, what: str) -> ScenarioError:
    """Return the error for what is wrong at a path."""
    return ScenarioError(f"{path}: {what}")


@cache
def coder(of: Any) -> Coder:  # noqa: ANN401 - a type or a generic alias
    """Return the coder of a type."""
    known = _PLAIN.get(of)
    if known is not None:
        return known
    return _generic(of) if get_origin(of) is not None else _class(of)


def _generic(of: Any) -> Coder:  # noqa: ANN401 - a generic alias
    origin, arguments = get_origin(of), get_args(of)
    if origin in {Union, types.UnionType}:
        return _union(arguments)
    if origin is tuple:
        return _tuple(arguments)
    if issubclass(origin, Mapping):
        return _mapping(_HEXADECIMAL if arguments[1] is int else coder(arguments[1]))
    raise TypeError(f"no JSON form of {of}")


def _class(of: Any) -> Coder:  # noqa: ANN401 - a class
    if of is Op:
        return Coder(encode, _op)
    if issubclass(of, Enum):
        return _enum(of)
    if issubclass(of, tuple):
        inner = _tuple((int,) * len(of._fields))
        return Coder(list, lambda data, path: of(*inner.read(data, path)))
    if is_dataclass(of):
        return _dataclass(of)
    raise TypeError(f"no JSON form of {of}")


def _exactly(expected: type, name: str) -> Coder:
    def read(data: object, path: str) -> object:
        if type(data) is not expected:
            raise wrong(path, f"expected {name}")
        return data

    return Coder(lambda value: value, read)


def in_range(data: object, path: str) -> int:
    """Return an integer that a 64-bit register or result can hold.

    :raises ScenarioError: the data is not such an integer
    """
    if type(data) is not int or not -(1 << 63) <= data < 1 << 64:
        raise wrong(path, "expected an integer of 64 bits")
    return data


def hexadecimal(data: object, path: str) -> int:
    """Return the same from a hexadecimal string.

    :raises ScenarioError: the data is not such a string
    """
    try:
        return in_range(int(cast("str", data), 16), path)
    except (TypeError, ValueError):
        raise wrong(path, "expected a hexadecimal number") from None


def check_members(data: Mapping[str, Any], members: Mapping[str, Any]) -> None:
    """Check the types of an object's members; each may be absent.

    :raises ScenarioError: a member has another type
    """
    for name in members.keys() & data.keys():
        from_json(members[name], data[name], f"$.{name}")


def _number(data: object, path: str) -> float:
    if type(data) not in {int, float} or not abs(cast("float", data)) < _LARGEST:
        raise wrong(path, "expected a number")
    return float(cast("float", data))


def _converted(convert: Callable[[str], T], name: str) -> Callable[[object, str], T]:
    def read(data: object, path: str) -> T:
        if not isinstance(data, str):
            raise wrong(path, f"expected {name}")
        try:
            return convert(data)
        except ValueError:
            raise wrong(path, f"expected {name}, not {data!r:.40}") from None

    return read


_LARGEST = 1e15
_HEXADECIMAL = Coder(hex, hexadecimal)
_PLAIN: Mapping[Any, Coder] = {
    int: Coder(lambda value: value, in_range),
    str: _exactly(str, "a string"),
    bool: _exactly(bool, "true or false"),
    float: Coder(lambda value: round(value, 6), _number),
    bytes: Coder(bytes.hex, _converted(bytes.fromhex, "hexadecimal bytes")),
}


@lru_cache(maxsize=4096)
def _op_of(text: str) -> Op:
    return read_op(loads(text), "")


def _op(data: object, path: str) -> Op:
    if not isinstance(data, dict):
        raise wrong(path, "expected an op")
    try:
        return _op_of(dumps(data))
    except ScenarioError as error:
        raise ScenarioError(f"{path}{error}") from None


def _enum(of: type[Enum]) -> Coder:
    def read(data: object, path: str) -> Enum:
        try:
            return of(data)
        except ValueError:
            raise wrong(path, f"no {of.__name__} is {data!r:.40}") from None

    return Coder(lambda value: value.value, read)


def _items(data: object, path: str) -> list[object]:
    if not isinstance(data, list):
        raise wrong(path, "expected a list")
    return data


def _tuple(arguments: tuple[Any, ...]) -> Coder:
    if arguments[-1] is Ellipsis:
        each = coder(arguments[0])
        return Coder(
            lambda value: [each.write(item) for item in value],
            lambda data, path: tuple(
                each.read(item, f"{path}[{n}]") for n, item in enumerate(_items(data, path))
            ),
        )
    coders = [coder(argument) for argument in arguments]

    def read(data: object, path: str) -> tuple[object, ...]:
        items = _items(data, path)
        if len(items) != len(coders):
            raise wrong(path, f"expected {len(coders)} items, not {len(items)}")
        pairs = enumerate(zip(coders, items, strict=True))
        return tuple(one.read(item, f"{path}[{n}]") for n, (one, item) in pairs)

    return Coder(
        lambda value: [one.write(item) for one, item in zip(coders, value, strict=True)], read
    )


def _mapping(values: Coder) -> Coder:
    def read(data: object, path: str) -> dict[str, Any]:
        return {name: values.read(v, f"{path}.{name}") for name, v in _object(data, path).items()}

    return Coder(lambda value: {name: values.write(v) for name, v in value.items()}, read)


def _object(data: object, path: str) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise wrong(path, "expected an object")
    return data


def _union(choices: tuple[Any, ...]) -> Coder:
    present = [choice for choice in choices if choice is not types.NoneType]
    if len(present) < len(choices):
        inner = coder(present[0]) if len(present) == 1 else _union(tuple(present))
        return Coder(
            lambda value: None if value is None else inner.write(value),
            lambda data, path: None if data is None else inner.read(data, path),
        )
    if all(choice in _PLAIN for choice in present):
        return _one_of(present)
    kinds = {choice.__name__: coder(choice) for choice in present}

    def write(value: object) -> dict[str, Any]:
        kind = type(value).__name__
        return {"kind": kind, **kinds[kind].write(value)}

    def read(data: object, path: str) -> object:
        members = dict(_object(data, path))
        kind = members.pop("kind", None)
        if not isinstance(kind, str) or kind not in kinds:
            raise wrong(f"{path}.kind", f"expected one of {', '.join(kinds)}")
        return kinds[kind].read(members, path)

    return Coder(write, read)


def _one_of(plain: list[type]) -> Coder:
    def read(data: object, path: str) -> object:
        if type(data) not in plain:
            raise wrong(path, f"expected one of {', '.join(of.__name__ for of in plain)}")
        return _PLAIN[type(data)].read(data, path)

    return Coder(lambda value: value, read)


def _dataclass(of: Any) -> Coder:  # noqa: ANN401 - a dataclass
    hints = get_type_hints(of)
    coders = {field.name: coder(hints[field.name]) for field in fields(of)}
    defaults = {f.name: f.default for f in fields(of) if f.default is not MISSING}
    empty = {f.name: f.default_factory() for f in fields(of) if f.default_factory is not MISSING}
    optional = defaults | empty

    def write(value: object) -> dict[str, Any]:
        pairs = ((name, getattr(value, name)) for name in coders)
        return {
            name: coders[name].write(member)
            for name, member in pairs
            if name not in optional or member != optional[name]
        }

    def read(data: object, path: str) -> object:
        members = _object(data, path)
        for name in members.keys() - coders.keys():
            raise wrong(path, f"has no member {name!r:.40}")
        for name in coders.keys() - members.keys() - optional.keys():
            raise wrong(path, f"{name!r} is missing")
        values = {name: coders[name].read(members[name], f"{path}.{name}") for name in members}
        try:
            return of(**values)
        except ValueError as error:
            raise wrong(path, str(error)) from None

    return Coder(write, read)
