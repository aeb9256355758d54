"""Offsets and sizes in a standard-format image (SDM vol.1 §13.4 "XSAVE Area")."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from kvmprobe.errors import LayoutError
from kvmprobe.xstate.features import FPSSE, XFeature, bitmap_of, names, numbers

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

LEGACY_SIZE = 512
HEADER_OFFSET = 512
HEADER_SIZE = 64
EXTENDED_OFFSET = HEADER_OFFSET + HEADER_SIZE

X87_ENVIRONMENT = range(24)
MXCSR = range(24, 28)
MXCSR_MASK = range(28, 32)
X87_REGISTERS = range(32, 160)
XMM_REGISTERS = range(160, 416)
SOFTWARE_WORD = range(464, 472)
XSTATE_BV = range(512, 520)
XCOMP_BV = range(520, 528)
HEADER_RESERVED = range(528, 576)

KVM_XSAVE_SIZE = 4096


@dataclass(frozen=True, slots=True)
class Component:
    """An extended component: number; offset and size in bytes."""

    nr: int
    offset: int
    size: int

    @property
    def end(self) -> int:
        """Offset of the first byte after the component."""
        return self.offset + self.size


@dataclass(frozen=True)
class Layout:
    """The extended components of a CPU, sorted by number.

    The order by offset may differ: APX uses the space of MPX.
    """

    components: tuple[Component, ...]

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        return hash(self.components)

    @classmethod
    def of(cls, components: Iterable[Component]) -> Layout:
        """Make a layout, and check it.

        :raises LayoutError: components overlap each other or the header
        """
        ordered = sorted(components, key=lambda c: c.offset)
        end = EXTENDED_OFFSET
        for component in ordered:
            if component.offset < end or component.size <= 0:
                where = f"component {component.nr} at {component.offset}+{component.size}"
                raise LayoutError(f"{where} overlaps the header or component that ends at {end}")
            end = component.end
        return cls(tuple(sorted(ordered, key=lambda c: c.nr)))

    @property
    def bitmap(self) -> int:
        """All components of the layout, including FP and SSE."""
        return FPSSE | bitmap_of(c.nr for c in self.components)

    def component(self, nr: int) -> Component:
        """Return an extended component.

        :raises LayoutError: the layout has no such component
        """
        found = self._by_number.get(nr)
        if found is None:
            raise LayoutError(f"no place for component {names(1 << nr)} in this layout")
        return found

    @cached_property
    def _by_number(self) -> dict[int, Component]:
        return {component.nr: component for component in self.components}

    def size(self, bitmap: int) -> int:
        """Return the size of a standard-format image with ``bitmap``, bytes.

        :raises LayoutError: the layout has no component of ``bitmap``
        """
        if bitmap not in self._sizes:
            extended = [self.component(nr).end for nr in numbers(bitmap & ~FPSSE)]
            self._sizes[bitmap] = max([EXTENDED_OFFSET, *extended])
        return self._sizes[bitmap]

    @cached_property
    def _sizes(self) -> dict[int, int]:
        return {}

    def name_of(self, offset: int) -> str:
        """Return the name of the field or component at a byte offset."""
        return self.region_of(offset, offset + 1)[0]

    def region_of(self, offset: int, size: int) -> tuple[str, range]:
        """Return name and byte range of the field or component at a byte offset.

        :param size: size of the image, bytes: the end of padding after the last component
        """
        for name, span in self._regions():
            if offset in span:
                return name, span
        start = max(span.stop for _, span in self._regions() if span.stop <= offset)
        later = [span.start for _, span in self._regions() if span.start > offset]
        return f"padding from {start}", range(start, min([*later, size]))

    def _regions(self) -> Iterator[tuple[str, range]]:
        yield from _FIXED_FIELDS
        for component in self.components:
            known = component.nr in set(XFeature)
            name = XFeature(component.nr).name if known else f"component {component.nr}"
            yield name, range(component.offset, component.end)


_FIXED_FIELDS = (
    ("FP (environment)", X87_ENVIRONMENT),
    ("MXCSR", MXCSR),
    ("MXCSR_MASK", MXCSR_MASK),
    ("FP (ST registers)", X87_REGISTERS),
    ("SSE (XMM)", XMM_REGISTERS),
    ("software word", SOFTWARE_WORD),
    ("XSTATE_BV", XSTATE_BV),
    ("XCOMP_BV", XCOMP_BV),
    ("reserved header", HEADER_RESERVED),
)
