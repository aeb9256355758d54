"""Structures that a call takes, packed from named values."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeAlias

from kvmprobe.errors import LayoutError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvmprobe.abi.layout import Layout, TableFormat

Value: TypeAlias = "int | bytes | tuple[int, ...] | tuple[bytes, ...] | Mapping[str, Value]"


def pack(layout: Layout, values: Mapping[str, Value]) -> bytes:
    """Return the structure's bytes; members without a value are zero.

    :param values: by member; a tuple for an array, which may have fewer elements; a mapping for a
        structure within
    :raises LayoutError: a value does not fit its member, or an array has no room for all
    """
    return _pack(layout.name, "", layout, values)


def _pack(structure: str, path: str, layout: Layout, values: Mapping[str, Value]) -> bytes:
    unknown = values.keys() - layout.members.keys()
    if unknown:
        raise KeyError(f"{structure} has no {path}{min(unknown)}")
    parts = []
    for name, member in layout.members.items():
        value = values.get(name, ())
        if isinstance(member, str):
            parts.append(_elements(f"{structure}: {path}{name}", member, value))
        else:
            within = value if isinstance(value, Mapping) else {}
            parts.append(_pack(structure, f"{path}{name}.", member, within))
    return b"".join(parts)


def _elements(where: str, form: str, value: Value) -> bytes:
    packed = struct.Struct(f"={form}")
    zeros = packed.unpack(bytes(packed.size))
    elements = value if isinstance(value, tuple) else (value,)
    if len(elements) > len(zeros):
        raise LayoutError(f"{where}: {len(zeros)} at most, not {len(elements)}")
    width = packed.size // (len(zeros) or 1)
    for element in elements:
        if isinstance(element, bytes):
            if len(element) > width:
                raise LayoutError(f"{where}: {width} bytes at most, not {len(element)}")
        elif isinstance(element, int) and not in_bits(element, 8 * width):
            raise LayoutError(f"{where}: {element} does not fit {8 * width} bits")
    return packed.pack(*elements, *zeros[len(elements) :])


def packed_table(form: TableFormat, entries: Sequence[tuple[int, ...]], *flags: int) -> bytes:
    """Return a table with these entries.

    :raises LayoutError: a number does not fit its field
    """
    try:
        return form.pack(entries, *flags)
    except struct.error as error:
        names = [name for name, code in form.entry.members.items() if not str(code).endswith("x")]
        for entry in entries:
            pack(form.entry, dict(zip(names, entry, strict=True)))
        raise LayoutError(f"{form.head.name}: {error}") from error


def in_bits(number: int, bits: int) -> bool:
    """Return whether an unsigned field of so many bits holds the number."""
    return 0 <= number < 1 << bits
