"""Reads the functions in scope from the running kernel; runs in the guest, as its own program.

Linux patches alternatives, static calls and jump labels into its text, so the text is read from
memory: symbols from /proc/kallsyms, bytes from /proc/kcore (an ELF core file).
Source: Linux kernel/kallsyms.c, s_show(); fs/proc/kcore.c.
"""

from __future__ import annotations

import json
import os
import struct
import sys
from bisect import bisect_right
from pathlib import Path
from typing import TYPE_CHECKING

from kvmprobe.coverage.functions import KernelFunction, KernelFunctions
from kvmprobe.coverage.scope import KERNEL, Scope

if TYPE_CHECKING:
    from collections.abc import Iterator

_LOAD = 1  # ABI: elf(5), PT_LOAD
_LONGEST = 1 << 17
# Prefixes of symbols that are not functions: call padding, static call trampolines and keys.
_NOT_FUNCTIONS = ("__pfx_", "__SCT__", "__SCK__")


class Unreadable(Exception):
    """The kernel hides its symbols or its text; the message has the reason."""


def functions_in_scope(proc: Path = Path("/proc")) -> KernelFunctions:
    """Return the functions of the running kernel and of KVM's modules that are in scope.

    :raises Unreadable: no symbols, or no text
    """
    try:
        found = list(_find((proc / "kallsyms").read_text(encoding="ascii", errors="replace")))
        with (proc / "kcore").open("rb", buffering=0) as core:
            segments = _segments(core.fileno())
            return KernelFunctions(
                tuple(
                    KernelFunction(
                        module, name, address, _read(core.fileno(), segments, address, size)
                    )
                    for module, name, address, size in found
                )
            )
    except OSError as error:
        raise Unreadable(f"{error.filename or proc}: {error.strerror}") from error


def _find(kallsyms: str) -> Iterator[tuple[str, str, int, int]]:
    symbols = [line.split() for line in kallsyms.splitlines()]
    addresses = sorted({int(words[0], 16) for words in symbols})
    if len(addresses) <= 1:
        raise Unreadable("/proc/kallsyms: all addresses are 0 (sysctl kernel.kptr_restrict)")
    scope = Scope.load()
    seen: set[int] = set()
    for words in symbols:
        address, kind, name = int(words[0], 16), words[1], words[2]
        if kind not in "tTwW" or name.startswith(_NOT_FUNCTIONS) or address in seen:
            continue
        module = words[3].strip("[]") if len(words) > 3 else KERNEL
        if scope.group_of(module, name) is not None:
            seen.add(address)
            after = bisect_right(addresses, address)
            end = addresses[after] if after < len(addresses) else address
            yield module, name, address, min(end - address, _LONGEST)


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
