"""C structures of KVM as dataclasses with typed fields."""

from __future__ import annotations

import struct
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

from kvmprobe.abi.layout import Layout
from kvmprobe.bindings.packing import pack
from kvmprobe.errors import LayoutError

if TYPE_CHECKING:
    from dataclasses import Field

_S = TypeVar("_S", bound="Structure")


class Structure:
    """Base of dataclasses whose fields are named as members of a C structure.

    A field is an integer, the bytes of an array, a tuple of either, or a structure within.
    Members without a field are padding: they are not read, and written as zero.

    :cvar layout: that of the C structure
    """

    __slots__ = ()
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]
    layout: ClassVar[Layout]

    @classmethod
    def size(cls) -> int:
        """Return the bytes of the C structure."""
        return cls.layout.size

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Decode the C structure at the beginning of ``content``.

        :raises LayoutError: ``content`` is shorter than the structure
        """
        if len(content) < cls.size():
            raise LayoutError(f"{cls.layout.name} takes {cls.size()} bytes, not {len(content)}")
        return _decoded(cls, cls.layout, content)

    def to_bytes(self) -> bytes:
        """Encode as the C structure.

        :raises LayoutError: a value does not fit its member, or more elements than an array has
        """
        return pack(self.layout, asdict(self))


def _decoded(cls: type[_S], layout: Layout, content: bytes) -> _S:
    value = cls()
    for name in cls.__dataclass_fields__:
        member, default, offset = layout.members[name], getattr(value, name), layout.offset(name)
        if isinstance(member, Layout):
            setattr(value, name, _decoded(type(default), member, content[offset:]))
        else:
            found = struct.unpack_from(f"={member}", content, offset)
            setattr(value, name, found if isinstance(default, tuple) else found[0])
    return value
