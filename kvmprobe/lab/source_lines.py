"""Source lines of a kernel's code, by ``addr2line`` of binutils, which building the emulator needs.

A module is a relocatable file, where an address is a section and an offset: that of its symbol.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import defaultdict
from typing import TYPE_CHECKING

from kvmprobe.errors import MissingTools, NoDebugFiles
from kvmprobe.lab import elf

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from kvmprobe.coverage.blocks import Block

_TOOL = "addr2line"
_RELOCATABLE = "ET_REL"
# The directory in which the distribution has built the kernel is left out.
_IN_TREE = re.compile(r"(?:^|.*?/)((?:arch|kernel|virt|include|mm|lib|fs|drivers)/.*:\d+)")


def lines_of(blocks: Iterable[Block], files: Mapping[str, Path]) -> dict[int, str]:
    """Return ``arch/x86/kvm/x86.c:1234`` for each block's first instruction, by its address.

    Blocks without a line are left out: assembly, and code that the compiler has made.

    :param files: ELF files with DWARF line numbers, by module
    :raises MissingTools: addr2line is not installed
    :raises NoDebugFiles: it cannot read a file
    """
    by_module: dict[str, list[Block]] = defaultdict(list)
    for block in blocks:
        by_module[block.function.module].append(block)
    found: dict[int, str] = {}
    for module, those in by_module.items():
        file = files[module]
        for section, places in _places(those, file).items():
            lines = _asked(file, section, list(places.values()))
            found |= zip(places, lines, strict=True)
    return {address: line for address, line in found.items() if line}


def _places(blocks: Iterable[Block], file: Path) -> dict[str, dict[int, int]]:
    """Return by section, "" for a linked file, where each block is: by its address in memory."""
    # Imported here, as in ``elf``.
    from elftools.elf.sections import SymbolTableSection  # noqa: PLC0415

    places: dict[str, dict[int, int]] = defaultdict(dict)
    with elf.opened(file) as opened:
        if opened["e_type"] != _RELOCATABLE:
            return {"": {block.start: block.start for block in blocks}}
        symbols = opened.get_section_by_name(".symtab")
        if not isinstance(symbols, SymbolTableSection):
            raise NoDebugFiles(f"{file}: no line numbers: it has no symbols")
        for block in blocks:
            for symbol in symbols.get_symbol_by_name(block.function.symbol) or ():
                if symbol["st_info"]["type"] == "STT_FUNC":
                    section = opened.get_section(symbol["st_shndx"]).name
                    offset = symbol["st_value"] + block.start - block.function.address
                    places[section][block.start] = offset
    return places


def _asked(file: Path, section: str, addresses: list[int]) -> list[str]:
    tool = shutil.which(_TOOL)
    if tool is None:
        raise MissingTools(("binutils",), "source lines of blocks")
    within = ("-j", section) if section else ()
    ended = subprocess.run(
        [tool, "-e", file, *within],
        input="".join(f"{address:#x}\n" for address in addresses),
        capture_output=True,
        text=True,
        check=False,
    )
    answers = ended.stdout.splitlines()
    if ended.returncode != 0 or len(answers) != len(addresses):
        raise NoDebugFiles(f"{file}: no line numbers: {_TOOL}: {ended.stderr.strip()}")
    return [match[1] if (match := _IN_TREE.match(answer)) else "" for answer in answers]
