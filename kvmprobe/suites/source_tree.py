"""Unpacking what building selftests needs of a kernel's source: a tenth of its files."""

from __future__ import annotations

import io
import lzma
import re
import tarfile
from typing import TYPE_CHECKING

from kvmprobe.errors import UsageError
from kvmprobe.lab import debfile
from kvmprobe.lab.cache import disk_full_as_no_space, require_space

if TYPE_CHECKING:
    from pathlib import Path

    from kvmprobe.suites.source import Source

# 250 MB are unpacked, and the objects of a build are as large.
_TREE_BYTES = 700_000_000
_TARBALL = re.compile(r"usr/src/linux-source-[^/]+\.tar\.(?:xz|gz|bz2|zst)")
# `make headers` needs the tree's own makefiles and scripts, and headers for user space.  The VFIO
# library, with which KVM's tests are linked, takes registers from the headers of drivers.
_NEEDED = re.compile(
    r"(?:[^/]*|(?:tools|scripts|include|usr|kernel/time)/.*|arch/x86/(?!kvm/).*"
    r"|drivers/(?!gpu/).*\.h|(?:arch|drivers|kernel)/[^/]*)"
)


def unpack(source: Source, folder: Path) -> Path:
    """Unpack it; return the top directory of the tree.

    :param folder: an empty directory
    :raises UsageError: it has no source, or is damaged
    :raises NoSpace: the file system is full
    """
    require_space(folder, _TREE_BYTES, "building selftests")
    for name, content in debfile.files(source.deb):
        if _TARBALL.fullmatch(name):
            with disk_full_as_no_space(folder, "a kernel's source"):
                return _unpack_tarball(source, content, folder)
    raise UsageError(f"{source.name}: has no usr/src/linux-source-*.tar.xz")


def _unpack_tarball(source: Source, content: debfile.Content, folder: Path) -> Path:
    top = ""
    try:
        stream = io.BufferedReader(_Raw(content), 1 << 20)
        with tarfile.open(fileobj=stream, mode="r|*") as tar:
            for member in tar:
                top, _, path = member.name.removeprefix("./").partition("/")
                if path and _NEEDED.fullmatch(path):
                    tar.extract(member, folder, filter="data")
    except (tarfile.TarError, lzma.LZMAError, EOFError) as error:
        raise UsageError(f"{source.name}: its source is damaged: {error}") from error
    if not (folder / top / "tools/testing/selftests").is_dir():
        raise UsageError(f"{source.name}: has no tools/testing/selftests")
    return folder / top


class _Raw(io.RawIOBase):
    """A file of a package as a stream."""

    def __init__(self, content: debfile.Content) -> None:
        self._content = content

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        piece = self._content.read(len(buffer))
        buffer[: len(piece)] = piece
        return len(piece)
