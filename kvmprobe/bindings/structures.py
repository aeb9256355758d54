"""C structures of KVM as dataclasses: the C compiler says where each field lies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Self

from kvmprobe.bindings._ffi import ffi
from kvmprobe.errors import LayoutError

if TYPE_CHECKING:
    from dataclasses import Field


class Structure:
    """Base of dataclasses whose fields are named as those of a C structure.

    A field's default determines its type: an integer, the bytes of an array, a tuple of either, or
    a structure within.  Fields that are not named are padding: not read, and written as zero.
    """

    __slots__ = ()
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]
    c_type: ClassVar[str] = ""

    @classmethod
    def size(cls) -> int:
        """Return the bytes of the C structure."""
        return int(ffi.sizeof(cls.c_type))

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Decode the C structure at the beginning of ``content``.

        :raises LayoutError: ``content`` is shorter than the structure
        """
        if len(content) < cls.size():
            raise LayoutError(f"{cls.c_type} takes {cls.size()} bytes, not {len(content)}")
        value = cls()
        _read(ffi.from_buffer(f"{cls.c_type} *", content), value)
        return value

    def to_bytes(self) -> bytes:
        """Encode as the C structure.

        :raises LayoutError: a number does not fit its field, or more elements than an array has
        """
        target = ffi.new(f"{self.c_type} *")
        _write(target, self)
        return bytes(ffi.buffer(target))


def _read(source: Any, value: Structure) -> None:  # noqa: ANN401 - cffi is untyped
    for name in value.__dataclass_fields__:
        found, default = getattr(source, name), getattr(value, name)
        if isinstance(default, Structure):
            _read(found, default)
        else:
            setattr(value, name, _plain(found, default))


def _plain(found: Any, default: int | bytes | tuple[Any, ...]) -> object:  # noqa: ANN401
    match default:
        case bytes():
            return bytes(ffi.buffer(found))
        case tuple():
            return tuple(_plain(item, default[0]) for item in found)
        case _:
            return int(found)


def _write(target: Any, value: Structure) -> None:  # noqa: ANN401
    for name in value.__dataclass_fields__:
        item = getattr(value, name)
        if isinstance(item, Structure):
            _write(getattr(target, name), item)
            continue
        try:
            setattr(target, name, item)
        except (OverflowError, IndexError) as error:
            c_type = ffi.typeof(target).cname.removesuffix(" *").removesuffix(" &")
            raise LayoutError(f"{c_type}: {name}: {error}") from error
