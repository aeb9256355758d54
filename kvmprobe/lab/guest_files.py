"""The files that a program needs in the guest: its loader, libraries and interpreter.

This host's dynamic loader lists the libraries, so the guest gets the ones that the program uses
here.  Files that a program opens later (plug-ins, name services, a script's modules) cannot be
found that way: the user names them with --file.
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
# Loaded with dlopen(), by pthread_cancel() and backtrace() for example.
_DLOPENED = {"libc.so.6": ("libgcc_s.so.1",)}


def find_program(name: str, search: str) -> Path:
    """Find a program like a shell: ``search`` has the form of PATH.

    :raises UsageError: it does not exist, or is not executable
    """
    found = shutil.which(name, path=search)
    if found is None:
        raise UsageError(f"{name}: no such program, or not executable")
    return Path(found).absolute()


def add_program(tree: FileTree, program: Path, search: str) -> None:
    """Add a program with its interpreter, loader and libraries.

    :param search: PATH of the guest, for ``#!/usr/bin/env`` scripts
    :raises UsageError: a file is missing, or is not an x86-64 program
    """
    for _ in range(_MOST_INTERPRETERS):
        tree.add(program)
        head = _head(program)
        if head.startswith(_ELF_MAGIC):
            add_libraries(tree, program)
            return
        if not head.startswith(b"#!"):
            raise UsageError(f"{program}: neither an ELF program nor a script with a #! line")
        program = _add_interpreter(tree, program, head, search)
    raise UsageError(f"{program}: more than {_MOST_INTERPRETERS} nested interpreters")


def add_libraries(tree: FileTree, binary: Path) -> None:
    """Add the loader and the shared libraries of an ELF program or shared object.

    :raises UsageError: one of them is not installed
    """
    loader = _loader(binary)
    if loader is None:
        return
    tree.add(loader)
    if _LOADER_CACHE.exists():
        tree.add(_LOADER_CACHE)
    for library in _linked(loader, binary):
        tree.add(library)
        for late in _DLOPENED.get(library.name, ()):
            if (library.parent / late).exists():
                tree.add(library.parent / late)


def without_debug_sections(content: bytes) -> bytes:
    """Cut an ELF file after its last segment: symbols and debug information are often most of it.

    Not for programs that read data appended to themselves.
    """
    with elf.reading(io.BytesIO(content), "shared object") as file:
        segments = list(file.iter_segments())
    end = max(segment["p_offset"] + segment["p_filesz"] for segment in segments)
    # The section header table is cut off as well: clear e_shoff, e_shentsize, e_shnum, e_shstrndx.
    return content[:40] + bytes(8) + content[48:58] + bytes(6) + content[64:end]


# A #! line has an interpreter and at most one argument; the argument of env is a program.
def _add_interpreter(tree: FileTree, script: Path, head: bytes, search: str) -> Path:
    words = os.fsdecode(head[2:].split(b"\n", 1)[0]).split(None, 1)
    if not words:
        raise UsageError(f"{script}: no interpreter in its #! line")
    interpreter = Path(words[0])
    if not interpreter.is_file():
        raise UsageError(f"{script}: its interpreter {interpreter} does not exist")
    if interpreter.name != "env" or len(words) == 1:
        return interpreter
    add_program(tree, interpreter, search)
    arguments = [word for word in words[1].split() if not word.startswith("-") and "=" not in word]
    if not arguments:
        raise UsageError(f"{script}: no program after env in its #! line")
    return find_program(arguments[0], search)


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(4096)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error


# PT_INTERP of a program; the default loader for a shared object; None for a static program.
def _loader(binary: Path) -> Path | None:
    if not elf.is_x86_64(binary):
        raise UsageError(f"{binary}: not an x86-64 program")
    with elf.opened(binary) as file:
        if (loader := elf.interpreter(file)) is not None:
            return Path(os.fsdecode(loader))
    return Path("/lib64/ld-linux-x86-64.so.2") if ".so" in binary.name else None


def _linked(loader: Path, binary: Path) -> Iterator[Path]:
    listing = subprocess.run(
        [loader, "--list", binary.absolute()], capture_output=True, text=True, check=False
    )
    for line in listing.stdout.splitlines():
        name, arrow, place = line.strip().partition(" => ")
        path = (place if arrow else name).rsplit(" (0x", 1)[0]
        if path == "not found":
            raise UsageError(f"{binary}: needs {name}, which is not installed on this host")
        if path.startswith("/"):
            yield Path(path)
    if listing.returncode != 0 and "statically linked" not in listing.stdout:
        raise UsageError(
            f"{binary}: {listing.stderr.strip() or 'the loader cannot list its libraries'}"
        )
