"""JSON of typed values, and its JSON Schema, by the types of the fields of dataclasses.

The journal, the document and JSON lines use the same form.  A mapping of values is a mapping of
hexadecimal strings, bytes are hexadecimal, an op is an object as in a scenario document.  If a
field can have one of several dataclasses, ``kind`` is the name of its class.

Libraries were considered: msgspec has no union of dataclasses, and the model would depend on it;
cattrs converts ``"1"`` to 1 unless each primitive type has a hook, and has no schema.
"""

from __future__ import annotations

import inspect
import re
import types
from collections.abc import Callable, Collection, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from enum import Enum
from functools import cache, lru_cache
from json import dumps, loads
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from kvmprobe.errors import ScenarioError
from kvmprobe.scenarios.document import read_op
from kvmprobe.scenarios.ops import Op, encode

T = TypeVar("T")
Schema = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Coder:
    """Writes and reads values of one type.

    :ivar read: takes JSON and its path
    :ivar schema: the JSON Schema of what ``write`` returns
    """

    write: Callable[[Any], Any]
    read: Callable[[Any, str], Any]
    schema: Schema


def to_json(of: Any, value: object) -> Any:  # noqa: ANN401 - a type; JSON
    """Return JSON-ready data."""
    return coder(of).write(value)


def from_json(of: Callable[..., T], data: object, path: str = "$") -> T:
    """Return the value that :func:`to_json` wrote.

    :param path: of the data, for errors
    :raises ScenarioError: the data is not such a value; the message begins with the path
    """
    read: T = coder(of).read(data, path)
    return read


def wrong(path: str, what: str) -> ScenarioError:
    """Return the error for a mistake at a path."""
    return ScenarioError(f"{path}: {what}")


@cache
def coder(of: Any) -> Coder:  # noqa: ANN401 - a type or a generic alias
    """Return the coder of a type."""
    known = _PLAIN.get(of)
    if known is not None:
        return known
    return _generic(of) if get_origin(of) is not None else _class(of)


def object_schema(members: Mapping[str, Schema], optional: Collection[str] = ()) -> Schema:
    """Return the schema of an object that has these members and no others."""
    return {
        "type": "object",
        "properties": dict(members),
        "required": [name for name in members if name not in optional],
        "additionalProperties": False,
    }


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
        return Coder(lru_cache(maxsize=4096)(encode), _op, _OP_SCHEMA)
    if issubclass(of, Enum):
        return _enum(of)
    if issubclass(of, tuple):
        inner = _tuple((int,) * len(of._fields))
        schema = inner.schema | {"description": ", ".join(of._fields)}
        return Coder(list, lambda data, path: of(*inner.read(data, path)), schema)
    if is_dataclass(of):
        return _dataclass(of)
    raise TypeError(f"no JSON form of {of}")


def _exactly(expected: type, name: str, schema: Schema) -> Coder:
    def read(data: object, path: str) -> object:
        if type(data) is not expected:
            raise wrong(path, f"expected {name}")
        return data

    return Coder(lambda value: value, read, schema)


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
    if type(data) not in {int, float} or not 0 <= cast("float", data) < _LARGEST:
        raise wrong(path, "expected a number that is not negative")
    return float(cast("float", data))


def _bytes(data: object, path: str) -> bytes:
    try:
        return bytes.fromhex(cast("str", data))
    except (TypeError, ValueError):
        raise wrong(path, f"expected hexadecimal bytes, not {data!r:.40}") from None


_LARGEST = 1e15
_TEXT = {"type": "string"}
_HEXADECIMAL = Coder(hex, hexadecimal, _TEXT | {"pattern": "^-?0x[0-9a-f]+$"})
_PLAIN: Mapping[Any, Coder] = {
    int: Coder(lambda value: value, in_range, {"type": "integer"}),
    str: _exactly(str, "a string", _TEXT),
    bool: _exactly(bool, "true or false", {"type": "boolean"}),
    float: Coder(lambda value: round(value, 6), _number, {"type": "number", "minimum": 0}),
    bytes: Coder(bytes.hex, _bytes, _TEXT | {"pattern": "^([0-9a-f]{2})*$"}),
}
_OP_SCHEMA: Schema = {
    "type": "object",
    "description": "an op, as `kvmprobe ops --schema` describes it",
    "properties": {"op": _TEXT},
    "required": ["op"],
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
            raise wrong(path, f"unknown {of.__name__}: {data!r:.40}") from None

    return Coder(lambda value: value.value, read, {"enum": [member.value for member in of]})


def read_list(data: object, path: str) -> list[Any]:
    """Return a list.

    :raises ScenarioError: the data is not a list
    """
    if not isinstance(data, list):
        raise wrong(path, "expected a list")
    return data


def _object(data: object, path: str) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise wrong(path, "expected an object")
    return data


def _tuple(arguments: tuple[Any, ...]) -> Coder:
    if arguments[-1] is Ellipsis:
        each = coder(arguments[0])
        return Coder(
            lambda value: [each.write(item) for item in value],
            lambda data, path: tuple(
                each.read(item, f"{path}[{n}]") for n, item in enumerate(read_list(data, path))
            ),
            {"type": "array", "items": each.schema},
        )
    coders = [coder(argument) for argument in arguments]
    count = len(coders)

    def read(data: object, path: str) -> tuple[object, ...]:
        items = read_list(data, path)
        if len(items) != count:
            raise wrong(path, f"expected {count} items, not {len(items)}")
        pairs = enumerate(zip(coders, items, strict=True))
        return tuple(one.read(item, f"{path}[{n}]") for n, (one, item) in pairs)

    return Coder(
        lambda value: [one.write(item) for one, item in zip(coders, value, strict=True)],
        read,
        {
            "type": "array",
            "prefixItems": [one.schema for one in coders],
            "minItems": count,
            "maxItems": count,
        },
    )


def _mapping(values: Coder) -> Coder:
    def read(data: object, path: str) -> dict[str, Any]:
        return {name: values.read(v, f"{path}.{name}") for name, v in _object(data, path).items()}

    return Coder(
        lambda value: {name: values.write(v) for name, v in value.items()},
        read,
        {"type": "object", "additionalProperties": values.schema},
    )


def _union(choices: tuple[Any, ...]) -> Coder:
    present = [choice for choice in choices if choice is not types.NoneType]
    if len(present) < len(choices):
        inner = coder(present[0]) if len(present) == 1 else _union(tuple(present))
        return Coder(
            lambda value: None if value is None else inner.write(value),
            lambda data, path: None if data is None else inner.read(data, path),
            {"anyOf": [{"type": "null"}, inner.schema]},
        )
    if all(choice in _PLAIN for choice in present):
        return _one_of(present)
    return _kinds({choice.__name__: coder(choice) for choice in present})


def _one_of(plain: list[type]) -> Coder:
    def read(data: object, path: str) -> object:
        if type(data) not in plain:
            raise wrong(path, f"expected one of {', '.join(of.__name__ for of in plain)}")
        return _PLAIN[type(data)].read(data, path)

    return Coder(lambda value: value, read, {"anyOf": [_PLAIN[of].schema for of in plain]})


def _kinds(kinds: Mapping[str, Coder]) -> Coder:
    def write(value: object) -> dict[str, Any]:
        kind = type(value).__name__
        return {"kind": kind, **kinds[kind].write(value)}

    def read(data: object, path: str) -> object:
        members = dict(_object(data, path))
        kind = members.pop("kind", None)
        if not isinstance(kind, str) or kind not in kinds:
            raise wrong(f"{path}.kind", f"expected one of {', '.join(kinds)}")
        return kinds[kind].read(members, path)

    return Coder(write, read, {"oneOf": [_of_kind(kind, one) for kind, one in kinds.items()]})


def _of_kind(kind: str, one: Coder) -> Schema:
    members = {"kind": {"const": kind}, **one.schema["properties"]}
    return one.schema | {"properties": members, "required": ["kind", *one.schema["required"]]}


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
            raise wrong(path, f"unknown member {name!r:.40}")
        for name in coders.keys() - members.keys() - optional.keys():
            raise wrong(path, f"{name!r} is missing")
        values = {name: coders[name].read(members[name], f"{path}.{name}") for name in members}
        try:
            return of(**values)
        except ValueError as error:
            raise wrong(path, str(error)) from None

    return Coder(write, read, _described(of, coders, optional))


def _described(of: type, coders: Mapping[str, Coder], optional: Collection[str]) -> Schema:
    """Return the schema of a dataclass, with the descriptions of its docstring."""
    summary, *rest = re.split(r"\s*:ivar (?=\w+: )", inspect.getdoc(of) or "")
    texts = dict(text.split(": ", 1) for text in rest)
    members = {
        name: one.schema | ({"description": " ".join(texts[name].split())} if name in texts else {})
        for name, one in coders.items()
    }
    return object_schema(members, optional) | {"description": " ".join(summary.split())}
