"""Reads the functions in scope from the running kernel; runs in the guest, as its own program.

Linux patches alternatives, static calls and jump labels into its text, so the text is read from
memory: symbols from /proc/kallsyms, bytes from /proc/kcore (an ELF core file).
Source: Linux kernel/kallsyms.c, s_show(); fs/proc/kcore.c.
"""

from __future__ import annotations

import json
import os
import re
import struct
import sys
from bisect import bisect_right
from pathlib import Path
from typing import TYPE_CHECKING

from kvmprobe.coverage.functions import KernelFunction, KernelFunctions
from kvmprobe.coverage.scope import KERNEL, Scope

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_LOAD = 1  # ABI: elf(5), PT_LOAD
_LONGEST = 1 << 17
_TEXT = "tTwW"
# SDM vol. 2, CALL and JMP: opcodes with a 32-bit displacement.
_CALL_OR_JUMP = re.compile(b"[\xe8\xe9]")
_DISTANCE = struct.Struct("<i")
_HIDDEN = "/proc/kallsyms: all addresses are 0 (sysctl kernel.kptr_restrict)"


class Unreadable(Exception):
    """The kernel hides its symbols or its text; the message has the reason."""


def functions_in_scope(proc: Path = Path("/proc")) -> KernelFunctions:
    """Return the functions of the running kernel and of KVM's modules that are in scope.

    :raises Unreadable: no symbols, or no text
    """
    try:
        kallsyms = (proc / "kallsyms").read_text(encoding="utf-8", errors="replace")
        with (proc / "kcore").open("rb", buffering=0) as core:
            segments = _segments(core.fileno())
            functions = tuple(
                KernelFunction(module, name, address, _read(core.fileno(), segments, address, size))
                for module, name, address, size in _find(kallsyms)
            )
        return KernelFunctions(functions, _names_of_called(functions, kallsyms))
    except OSError as error:
        raise Unreadable(f"{error.filename or proc}: {error.strerror}") from error


def _find(kallsyms: str) -> Iterator[tuple[str, str, int, int]]:
    """Yield module, symbol, address and size of the functions in scope.

    The kernel's own 200,000 symbols come first and in the order of their addresses, so that most of
    them need not be parsed; those of modules are in no order.
    """
    first_module = kallsyms.find("\t[")
    start = kallsyms.rfind("\n", 0, first_module) + 1 if first_module >= 0 else len(kallsyms)
    scope = Scope.load()
    yield from _of_kernel(kallsyms[:start], scope)
    modules = [line.split() for line in kallsyms[start:].splitlines()]
    addresses = sorted({int(words[0], 16) for words in modules})
    if addresses == [0]:
        raise Unreadable(_HIDDEN)
    seen: set[int] = set()
    for words in modules:
        address, kind, symbol, module = int(words[0], 16), words[1], words[2], words[3].strip("[]")
        if kind in _TEXT and address not in seen and scope.group_of(module, symbol) is not None:
            seen.add(address)
            after = bisect_right(addresses, address)
            if after < len(addresses):
                yield module, symbol, address, min(addresses[after] - address, _LONGEST)


def _of_kernel(kallsyms: str, scope: Scope) -> Iterator[tuple[str, str, int, int]]:
    names = scope.names_in(KERNEL)
    line = re.compile(rf"^([0-9a-f]+) [{_TEXT}] ({names}(?:\.\S+)?)$", re.MULTILINE)
    address = re.compile(r"^[0-9a-f]+", re.MULTILINE)
    for found in line.finditer(kallsyms):
        start = int(found[1], 16)
        if start == 0:
            raise Unreadable(_HIDDEN)
        behind = (int(each[0], 16) for each in address.finditer(kallsyms, found.end()))
        end = next((each for each in behind if each > start), start)
        yield KERNEL, found[2], start, min(end - start, _LONGEST)


def _names_of_called(functions: Iterable[KernelFunction], kallsyms: str) -> dict[int, str]:
    """Return the symbols at which a branch of these functions can be aimed.

    Nothing is decoded here: each byte that can be the opcode of CALL or JMP is taken for one.
    """
    targets = {
        (function.address + found.end() + 4 + _DISTANCE.unpack_from(function.code, found.end())[0])
        % (1 << 64)
        for function in functions
        for found in _CALL_OR_JUMP.finditer(function.code, 0, len(function.code) - 4)
    }
    wanted = {f"{target:016x}" for target in targets}
    names: dict[int, str] = {}
    for line in kallsyms.splitlines():
        if line[:16] in wanted and not line.startswith("__pfx_", 19):
            names.setdefault(int(line[:16], 16), line[19:].partition("\t")[0])
    return names


def _segments(core: int) -> list[tuple[int, int, int]]:
    header = os.pread(core, 64, 0)
    if header[:4] != b"\x7fELF":
        raise Unreadable("/proc/kcore: not an ELF file")
    table, size, count = (
        struct.unpack_from("<Q", header, 32)[0],
        *struct.unpack_from("<HH", header, 54),
    )
    entries = os.pread(core, size * count, table)
    segments = []
    for number in range(count):
        kind, _, offset, address, _, length, _, _ = struct.unpack_from(
            "<IIQQQQQQ", entries, size * number
        )
        if kind == _LOAD:
            segments.append((address, length, offset))
    return segments


def _read(core: int, segments: list[tuple[int, int, int]], address: int, size: int) -> bytes:
    for start, length, offset in segments:
        if start <= address < start + length:
            return os.pread(core, size, offset + address - start)
    raise Unreadable(f"/proc/kcore: {address:#x} is in no segment")


def main() -> int:
    """Print them as JSON."""
    try:
        sys.stdout.write(json.dumps(functions_in_scope().to_json()))
    except Unreadable as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
