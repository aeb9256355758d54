"""Writes the C statements that check an expectation."""

from __future__ import annotations

from errno import errorcode
from itertools import groupby
from typing import TYPE_CHECKING

from kvmprobe.abi.fields import kind_of
from kvmprobe.abi.layout import FieldKind
from kvmprobe.abi.numbers import KvmExit, exit_name
from kvmprobe.model import cpuid, guest_cpuid, system
from kvmprobe.model.outcome import NewDescriptor
from kvmprobe.model.run import EXIT_FIELD
from kvmprobe.repro.ctext import Names, bitmap, block, number, string
from kvmprobe.repro.fill import statements
from kvmprobe.repro.typed import cpuid_entries
from kvmprobe.xstate import cpuid_values

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvmprobe.model.outcome import ExpectedImage, ExpectedTable, Unspecified
    from kvmprobe.repro.expectation import Expectation
    from kvmprobe.repro.issue import Issued
    from kvmprobe.xstate.cpuid import Register
    from kvmprobe.xstate.layout import Layout

_READERS = {"B": "u8_at", "H": "u16_at", "I": "u32_at", "Q": "u64_at"}
_CPUID_HEAD, _CPUID_ENTRY = 8, 40
# Expressions for values without a fixed offset.  OUT is the output's address, ROOM its entries.
_SEARCHES = {
    cpuid_values.XCR0_FIELD: "cpuid_xcr0(OUT)",
    cpuid.SIZE_FIELD: "cpuid_entry(OUT, 0xd, 0).ecx",
    guest_cpuid.NENT_FIELD: "u32_at(OUT)",
    cpuid_values.IN_USE_FIELD: "cpuid_entry(OUT, 0xd, 0).ebx",
    cpuid_values.COMPACTED_FIELD: "cpuid_entry(OUT, 0xd, 1).ebx",
    cpuid_values.OSXSAVE_FIELD: "cpuid_osxsave(OUT)",
    system.COUNT_FIELD: "u32_at(OUT)",
    system.XSTATE_LEAVES_FIELD: "cpuid_xstate_leaves(OUT, ROOM)",
}


class Checker:
    """Writes checks, and the data that they use, each item once."""

    def __init__(self, names: Names, layout: Layout) -> None:
        self._names = names
        self._layout = layout
        self._contents: dict[tuple[bytes, tuple[Unspecified, ...]], str] = {}
        self._tables: dict[ExpectedTable, tuple[str, str, int]] = {}
        self._step = 0
        self.data: list[str] = []

    def begin(self, step: int) -> None:
        """Set the step whose number the names of new data get."""
        self._step = step

    def lines(self, label: str, expected: Expectation, issued: Issued) -> list[str]:
        """Return the statements that check ``ret`` and the output."""
        name = string(label)
        match expected.result:
            case None:
                return [f"show({name}, ret);"]
            case NewDescriptor():
                return [f"check_descriptor({name}, ret);"]
            case result:
                inner = self._output_lines(expected, issued)
                wanted = f"check({name}, ret, {_result(result)})"
        if not inner:
            return [f"{wanted};"]
        opened = f"if ({wanted})"
        if len(inner) == 1:
            return [opened, f"\t{inner[0]}"]
        return [f"{opened} {{", *(f"\t{line}" for line in inner), "}"]

    def _output_lines(self, expected: Expectation, issued: Issued) -> list[str]:
        out = issued.output
        lines = [
            f"expect_value({string(name)}, {_reader(name, expected, issued)}, "
            f"{_value(name, value)}, {number(expected.open_fields.get(name, 0))});"
            for name, value in expected.fields.items()
        ]
        if expected.images:
            choices = ", ".join(f"&{self._image(image)}" for image in expected.images)
            wanted = f"(const struct content *const[]){{ {choices} }}, {len(expected.images)}"
            lines.append(f"expect_image({out}, {issued.output_size}, {wanted});")
        if expected.memory is not None:
            memory = expected.memory
            content = self._content(memory.content, memory.unspecified)
            lines.append(f"expect_bytes({out} + {memory.offset}, &{content});")
        if expected.table is not None:
            entries, opens, count = self._table(expected.table)
            size = len(expected.table.table.entries)
            if size:
                lines.append(f"expect_entries({out}, {entries}, {size}, {opens}, {count});")
        return lines

    def _image(self, image: ExpectedImage) -> str:
        return self._content(image.image, image.unspecified)

    def _content(self, content: bytes, opens: tuple[Unspecified, ...]) -> str:
        key = (content, opens)
        if key not in self._contents:
            self._contents[key] = name = self._names.fresh(f"expected_{self._step}")
            body = block(statements(content, "bytes", self._layout) or ["(void)bytes;"])
            self.data.append(f"static void fill_{name}(uint8_t *bytes)\n{{\n{body}\n}}")
            ranges = _ranges(opens)
            if ranges:
                self.data.append(_open_bits(f"open_{name}", ranges, opens))
            of_open = f", open_{name}, {len(ranges)}" if ranges else ", NULL, 0"
            value = f"{{ {len(content)}, fill_{name}{of_open} }}"
            self.data.append(f"static const struct content {name} = {value};")
        return self._contents[key]

    def _table(self, expected: ExpectedTable) -> tuple[str, str, int]:
        if expected not in self._tables:
            name = self._names.fresh(f"expected_cpuid_{self._step}")
            if expected.table.entries:
                self.data.append(cpuid_entries(expected.table.entries, name))
            opens = _registers(expected.unspecified)
            if opens:
                rows = "\n".join(f"\t{row}," for row in opens)
                table = f"static const struct open_registers open_{name}[] = {{\n{rows}\n}};"
                self.data.append(table)
            self._tables[expected] = (name, f"open_{name}" if opens else "NULL", len(opens))
        return self._tables[expected]


def _result(result: int) -> str:
    """Return a result as C: -errno by name, if user space has one."""
    return f"-{errorcode[-result]}" if -result in errorcode else str(result)


def _value(name: str, value: int) -> str:
    if name == EXIT_FIELD and value in set(KvmExit):
        return exit_name(value)
    return bitmap(value) if kind_of(name) is FieldKind.BITMAP else number(value)


def _reader(name: str, expected: Expectation, issued: Issued) -> str:
    places = expected.op.places
    if name in places:
        offset, code = places[name]
        return f"{_READERS[code]}({issued.output}{f' + {offset}' if offset else ''})"
    if name in system.LISTED_MSRS:
        room = issued.output_size // 4 - 1
        return f"lists_msr({issued.output}, {room}, {system.LISTED_MSRS[name]:#x})"
    room = (issued.output_size - _CPUID_HEAD) // _CPUID_ENTRY
    return _SEARCHES[name].replace("OUT", issued.output).replace("ROOM", str(room))


def _ranges(opens: Sequence[Unspecified]) -> list[tuple[int, int, int]]:
    """Return (offset, size, bits) of ranges whose bytes have the same unspecified bits."""
    found: list[tuple[int, int, int]] = []
    for unspecified in opens:
        offset = unspecified.offset
        for bits, group in groupby(unspecified.bits):
            size = sum(1 for _ in group)
            if bits:
                found.append((offset, size, bits))
            offset += size
    return found


def _open_bits(name: str, ranges: list[tuple[int, int, int]], opens: Sequence[Unspecified]) -> str:
    reasons = "; ".join(dict.fromkeys(str(u.freedom) for u in opens))
    rows = "\n".join(f"\t{{ {offset}, {size}, {bits:#x} }}," for offset, size, bits in ranges)
    return f"/* {reasons} */\nstatic const struct open_bits {name}[] = {{\n{rows}\n}};"


def _registers(unspecified: frozenset[tuple[int, Register]]) -> list[str]:
    leaves = sorted({leaf for leaf, _ in unspecified})
    return [
        f"{{ .leaf = {leaf:#x}, "
        + ", ".join(f".{r.value} = 1" for f, r in sorted(unspecified, key=str) if f == leaf)
        + " }"
        for leaf in leaves
    ]
