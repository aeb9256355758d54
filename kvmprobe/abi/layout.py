"""The layout of a structure of the kernel's headers.  Pure.

The build compares the layouts of ioctls' arguments with the headers (``abi/c_checks.py``).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping


class FieldKind(Enum):
    """How a value is shown."""

    BITMAP = "bitmap"
    """A set of state components: hexadecimal, with their names."""
    HEX = "hexadecimal"
    """A register, an address, flags."""
    COUNT = "count"
    """A number of bytes or entries, a single bit: decimal."""
    EXIT_REASON = "exit reason"
    """``kvm_run.exit_reason``, by its KVM_EXIT_* name."""
    VECTOR = "vector"
    """An exception, by its mnemonic."""


@dataclass(frozen=True)
class Layout:
    """The members of a C structure, in order.  Padding is a member as well: there are no gaps.

    >>> pair = Layout("struct pair", {"first": "I", "rest": "3H", "reserved": "2x"})
    >>> pair.size, pair.offset("rest"), pair.places("rest")
    (12, 4, {'rest0': (4, 'H'), 'rest1': (6, 'H'), 'rest2': (8, 'H')})

    :ivar name: the structure in C; empty for a number or a structure without a name
    :ivar members: each member's layout, or its format as :mod:`struct` writes it: ``I``, ``4Q`` for
        an array, ``4x`` for reserved bytes, which are zero
    :ivar kinds: how a member is shown, if not in hexadecimal
    """

    name: str
    members: Mapping[str, str | Layout]
    kinds: Mapping[str, FieldKind] = field(default_factory=dict)

    @cached_property
    def packed(self) -> struct.Struct:
        """All members; a reserved one has no value."""
        return struct.Struct("=" + "".join(map(_format, self.members.values())))

    @property
    def size(self) -> int:
        """The structure's bytes."""
        return self.packed.size

    def offset(self, path: str) -> int:
        """Return the offset of a member, or of a member's member (``cs.base``), bytes."""
        name, _, within = path.partition(".")
        before = list(self.members).index(name)
        start = struct.calcsize("=" + "".join(map(_format, list(self.members.values())[:before])))
        return start + (self._inner(name).offset(within) if within else 0)

    def format(self, path: str) -> str:
        """Return a member's format as :mod:`struct` writes it."""
        name, _, within = path.partition(".")
        return self._inner(name).format(within) if within else _format(self.members[name])

    def places(self, *paths: str) -> dict[str, tuple[int, str]]:
        """Return offset and format of these members by name; by default of all but reserved ones.

        The elements of array ``db`` are ``db0``, ``db1`` and so on; ``cs.base`` is ``cs_base``.  A
        structure within is one number.
        """
        found: dict[str, tuple[int, str]] = {}
        for path in paths or self.members:
            start, form = self.offset(path), self.format(path)
            code, name = form[-1], path.replace(".", "_")
            if isinstance(self.members.get(path), Layout):
                found[name] = start, _NUMBERS[struct.calcsize(f"={form}")]
            elif len(form) == 1:
                found[name] = start, code
            elif code != "x":
                width = struct.calcsize(f"={code}")
                for place in range(int(form[:-1])):
                    found[f"{name}{place}"] = start + width * place, code
        return found

    @cached_property
    def numbers(self) -> dict[str, tuple[int, str]]:
        """Offset and format of every number in it, nested ones too: ``cs_base``, ``db0``."""
        found: dict[str, tuple[int, str]] = {}
        for name, member in self.members.items():
            if isinstance(member, Layout):
                start = self.offset(name)
                for inner, (offset, code) in member.numbers.items():
                    found[f"{name}_{inner}"] = start + offset, code
            elif member[-1] in _WIDTHS:
                found |= self.places(name)
        return found

    def _inner(self, name: str) -> Layout:
        inner = self.members[name]
        if isinstance(inner, str):
            raise KeyError(f"{self.name}.{name} has no members")
        return inner


_NUMBERS = {1: "B", 2: "H", 4: "I", 8: "Q"}
_WIDTHS = frozenset(_NUMBERS.values())


def _format(member: str | Layout) -> str:
    return member if isinstance(member, str) else "".join(map(_format, member.members.values()))


@dataclass(frozen=True)
class TableFormat:
    """A structure with a flexible array; the first member of its head counts the entries.

    :ivar head: the structure without the array
    """

    head: Layout
    entry: Layout

    def offset(self, number: int, member: str = "") -> int:
        """Return the offset of an entry, counted from 0, or of a member of it.

        That of entry ``number`` is also the size of a table with so many entries.
        """
        within = self.entry.offset(member) if member else 0
        return self.head.size + number * self.entry.size + within

    def pack(self, entries: Iterable[tuple[int, ...]], *flags: int) -> bytes:
        """Return the structure with these entries.

        :param flags: members of the head after the count
        :raises struct.error: a value that does not fit its member
        """
        packed = [self.entry.packed.pack(*entry) for entry in entries]
        return self.head.packed.pack(len(packed), *flags) + b"".join(packed)

    def with_room(self, count: int) -> bytes:
        """Return the structure with a count and as many entries of zeros."""
        return self.head.packed.pack(count).ljust(self.offset(count), b"\0")

    def count(self, content: bytes | bytearray) -> int:
        """Return the count in the head."""
        count: int = self.head.packed.unpack_from(content)[0]
        return count

    def entries(self, content: bytes | bytearray, count: int) -> Iterator[tuple[Any, ...]]:
        """Return the first ``count`` entries; all if there are fewer."""
        return self.entry.packed.iter_unpack(content[self.offset(0) : self.offset(count)])
