"""Which files a program needs to run elsewhere: its loader, its libraries, its interpreter.

The dynamic loader itself is asked for the libraries, so what it would find here is what the guest
gets.  What a program opens later on its own (plug-ins, name services, a script's modules) nobody
can know: the user names such files.
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from kvmprobe.errors import UsageError
from kvmprobe.lab import elf

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmprobe.lab.initramfs import FileTree

_ELF_MAGIC = b"\x7fELF"
_LOADER_CACHE = Path("/etc/ld.so.cache")
_MOST_INTERPRETERS = 4
# What a library loads when it needs it, by name: pthread_cancel and backtrace, for example.
_OPENED_LATE = {"libc.so.6": ("libgcc_s.so.1",)}


def find_program(name: str, search: str) -> Path:
    """Find a program as a shell does: a path if it has a slash, else along ``search`` (as PATH).

    :raises UsageError: there is none, or it is not executable
    """
    found = shutil.which(name, path=search)
    if found is None:
        raise UsageError(f"{name}: no such program, or not executable")
    return Path(found).absolute()


def add_program(tree: FileTree, program: Path, search: str) -> None:
    """Add a program with everything that starting it needs.

    :param search: PATH of the guest, for ``#!/usr/bin/env`` scripts
    :raises UsageError: a file is missing, or made for another processor
    """
    for _ in range(_MOST_INTERPRETERS):
        tree.add(program)
        head = _head(program)
        if head.startswith(_ELF_MAGIC):
            add_libraries(tree, program)
            return
        if not head.startswith(b"#!"):
            raise UsageError(f"{program}: neither an ELF program nor a script with #!")
        program = _add_interpreter(tree, program, head, search)
    raise UsageError(f"{program}: too many interpreters of interpreters")


def add_libraries(tree: FileTree, binary: Path) -> None:
    """Add the shared objects that an ELF program or shared object is linked with, and its loader.

    :raises UsageError: one of them is not installed here
    """
    loader = _loader(binary)
    if loader is None:
        return
    tree.add(loader)
    if _LOADER_CACHE.exists():
        tree.add(_LOADER_CACHE)
    for library in _linked(loader, binary):
        tree.add(library)
        for late in _OPENED_LATE.get(library.name, ()):
            if (library.parent / late).exists():
                tree.add(library.parent / late)


def without_debug_sections(content: bytes) -> bytes:
    """Cut an ELF file behind what is loaded: symbols and debugging information, often most of it.

    Not for programs that read data appended to themselves.
    """
    with elf.reading(io.BytesIO(content), "shared object") as file:
        segments = list(file.iter_segments())
    end = max(segment["p_offset"] + segment["p_filesz"] for segment in segments)
    # The section table lies behind as well: e_shoff, e_shentsize, e_shnum and e_shstrndx say there
    # is none.
    return content[:40] + bytes(8) + content[48:58] + bytes(6) + content[64:end]


# The first line of a script names an interpreter and at most one argument; env's argument is a
# program.
def _add_interpreter(tree: FileTree, script: Path, head: bytes, search: str) -> Path:
    words = os.fsdecode(head[2:].split(b"\n", 1)[0]).split(None, 1)
    if not words:
        raise UsageError(f"{script}: its #! line names no interpreter")
    interpreter = Path(words[0])
    if not interpreter.is_file():
        raise UsageError(f"{script}: its interpreter {interpreter} does not exist")
    if interpreter.name != "env" or len(words) == 1:
        return interpreter
    add_program(tree, interpreter, search)
    arguments = [word for word in words[1].split() if not word.startswith("-") and "=" not in word]
    if not arguments:
        raise UsageError(f"{script}: its #! line names no interpreter after env")
    return find_program(arguments[0], search)


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(4096)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error


# The PT_INTERP of a program; the usual loader for a shared object; None for a static program.
def _loader(binary: Path) -> Path | None:
    if not elf.is_x86_64(binary):
        raise UsageError(f"{binary}: not an x86-64 program")
    with elf.opened(binary) as file:
        for segment in file.iter_segments("PT_INTERP"):
            return Path(os.fsdecode(segment.data().rstrip(b"\0")))
    return Path("/lib64/ld-linux-x86-64.so.2") if ".so" in binary.name else None


def _linked(loader: Path, binary: Path) -> Iterator[Path]:
    listing = subprocess.run(
        [loader, "--list", binary.absolute()], capture_output=True, text=True, check=False
    )
    for line in listing.stdout.splitlines():
        name, arrow, place = line.strip().partition(" => ")
        path = (place if arrow else name).rsplit(" (0x", 1)[0]
        if path == "not found":
            raise UsageError(f"{binary}: needs {name}, which is not installed here")
        if path.startswith("/"):
            yield Path(path)
    if listing.returncode != 0 and "statically linked" not in listing.stdout:
        raise UsageError(f"{binary}: {listing.stderr.strip() or 'its libraries cannot be listed'}")
