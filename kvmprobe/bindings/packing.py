"""Small C structures that a call takes, packed from named numbers."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from kvmprobe.errors import LayoutError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvmprobe.abi.tables import Layout, TableFormat


class Record:
    """The fields of one C structure, in its order.

    :param c_type: its name in C
    :param fields: each field's format as :mod:`struct` writes it: ``I``, or ``4Q`` for an array
    """

    def __init__(self, c_type: str, **fields: str) -> None:
        self._c_type: Final = c_type
        self._fields: Final = {name: struct.Struct(f"={form}") for name, form in fields.items()}

    @classmethod
    def of(cls, layout: Layout) -> Record:
        """Return the fields of a structure that has its layout in ``abi.tables``."""
        return cls(layout.name, **layout.members)

    def pack(self, **values: int | tuple[int, ...]) -> bytes:
        """Return the structure's bytes; fields without a value are zero.

        :raises LayoutError: a number does not fit its field, or an array has no room for all
        """
        return b"".join(
            self._field(name, form, values[name]) if name in values else bytes(form.size)
            for name, form in self._fields.items()
        )

    def _field(self, name: str, form: struct.Struct, value: int | tuple[int, ...]) -> bytes:
        numbers = value if isinstance(value, tuple) else (value,)
        room = int(form.format[1:-1] or 1)
        if len(numbers) > room:
            raise LayoutError(f"{self._c_type}: {name}: {room} at most, not {len(numbers)}")
        padded = numbers + (0,) * (room - len(numbers))
        try:
            return form.pack(*padded)
        except struct.error as error:
            bits = form.size // room * 8
            wrong = next(number for number in numbers if not in_bits(number, bits))
            raise LayoutError(
                f"{self._c_type}: {name}: {wrong} does not fit {bits} bits"
            ) from error


def packed_table(form: TableFormat, entries: Sequence[tuple[int, ...]], *flags: int) -> bytes:
    """Return a table with these entries.

    :raises LayoutError: a number does not fit its field
    """
    try:
        return form.pack(entries, *flags)
    except struct.error as error:
        record = Record.of(form.entry)
        names = [name for name, code in form.entry.members.items() if not code.endswith("x")]
        for entry in entries:
            record.pack(**dict(zip(names, entry, strict=True)))
        raise LayoutError(f"{form.head.name}: {error}") from error


def in_bits(number: int, bits: int) -> bool:
    """Return whether an unsigned field of so many bits holds the number."""
    return 0 <= number < 1 << bits
