"""The emulated host's initramfs: files of this host in a cpio archive (newc).

``FileTree`` collects files, ``Payload`` adds the command to run, and ``build`` packs them with
kvmprobe's first process (``guest/init.c``).  The same files give the same bytes.  ``guest_files``
and ``python_closure`` know which files a program needs.
Source: Linux Documentation/driver-api/early-userspace/buffer-format.rst.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from kvmprobe.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_MOUNTED_OVER = ("/proc", "/sys", "/dev", "/lab")
_MOST_LINKS = 40
_TRAILER = "TRAILER!!!"


class Start(Enum):
    """When the guest's program starts."""

    AT_ONCE = "at once"
    ON_INPUT = "after a byte of input"


class Mode(Enum):
    """Who uses the channel while the program runs; ``guest/init.c`` reads the value."""

    WORKER = "worker"
    EXEC = "exec"


@dataclass(frozen=True, slots=True)
class _Node:
    mode: int
    content: bytes = b""
    modified: int = 0
    device: tuple[int, int] = (0, 0)


@dataclass(slots=True)
class FileTree:
    """Files of the guest by absolute path, with symbolic links and parent directories."""

    _nodes: dict[str, _Node] = field(default_factory=dict)

    def add(self, path: Path) -> None:
        """Add a file or directory tree at its own absolute path, with the links in that path.

        :raises UsageError: it cannot be read, or the path is reserved in the guest
        """
        self.add_at(path, str(path.absolute()))

    def add_at(self, path: Path, guest: str) -> None:
        """Add a file or directory tree at the absolute path ``guest``; links in it are kept."""
        try:
            place = self._resolve(guest)
            if path.is_dir():
                self._make_directories(place)
                for child in sorted(path.iterdir()):
                    self._add_child(child, f"{place}/{child.name}")
                return
            status = path.stat()
            if not stat.S_ISREG(status.st_mode):
                raise UsageError(f"{path}: neither a file nor a directory")
            # A cpio archive and a .pyc file both have whole seconds.
            self._put(place, _Node(status.st_mode, path.read_bytes(), int(status.st_mtime)))
        except OSError as error:
            raise UsageError(f"{path}: {error.strerror}") from error

    def put(self, guest: str, content: bytes, permissions: int = 0o644) -> None:
        """Add a file with the given content."""
        self._put(self._resolve(guest), _Node(stat.S_IFREG | permissions, content))

    def add_directory(self, guest: str) -> None:
        """Add an empty directory."""
        self._make_directories(self._resolve(guest))

    def __contains__(self, guest: str) -> bool:
        """Return True if this exact path has been added."""
        return guest in self._nodes

    def has_below(self, guest: str) -> bool:
        """Return True if this directory has entries."""
        return any(path.startswith(f"{self._resolve(guest)}/") for path in self._nodes)

    def size(self) -> int:
        """Return the total size of the files, bytes."""
        return sum(len(node.content) for node in self._nodes.values())

    def archive(self) -> bytearray:
        """Return the cpio archive."""
        archive = bytearray()
        for number, (path, node) in enumerate(sorted(self._nodes.items()), start=1):
            for chunk in _cpio_entry(number, path.lstrip("/"), node):
                archive += chunk
        for chunk in _cpio_entry(0, _TRAILER, _Node(0)):
            archive += chunk
        return archive

    def put_console(self) -> None:
        """Add /dev/console, which the kernel opens for its first process."""
        self._put("/dev/console", _Node(stat.S_IFCHR | 0o600, device=(5, 1)))

    def _add_child(self, child: Path, guest: str) -> None:
        if child.is_symlink():
            self._link(guest, str(child.readlink()))
        elif child.is_dir() or child.is_file():
            self.add_at(child, guest)

    def _put(self, place: str, node: _Node) -> None:
        self._make_directories(place.rpartition("/")[0])
        self._nodes[place] = node

    def _link(self, place: str, target: str) -> None:
        self._put(place, _Node(stat.S_IFLNK | 0o777, target.encode()))

    def _make_directories(self, place: str) -> None:
        while place and place not in self._nodes:
            self._nodes[place] = _Node(stat.S_IFDIR | 0o755)
            place = place.rpartition("/")[0]

    # Follows the symbolic links of this host in a path and adds them, so that the guest has
    # /lib -> usr/lib if this host has it, and each file only once.
    def _resolve(self, guest: str) -> str:
        rest = [part for part in os.path.normpath(guest).split("/") if part]
        place, links = "", 0
        while rest:
            step = f"{place}/{rest.pop(0)}"
            here = Path(step)
            if step in _MOUNTED_OVER:
                raise UsageError(f"{guest}: {step} is reserved in the guest; use another path")
            if not here.is_symlink():
                place = step
                continue
            links += 1
            if links > _MOST_LINKS:
                raise UsageError(f"{guest}: more than {_MOST_LINKS} symbolic links")
            target = str(here.readlink())
            self._link(step, target)
            joined = os.path.normpath(target if target.startswith("/") else f"{place}/{target}")
            rest = [part for part in joined.split("/") if part] + rest
            place = ""
        return place


@dataclass(frozen=True, slots=True)
class Payload:
    """A program to run on the emulated host.

    :ivar command: its argv; the first is an absolute path in the guest
    :ivar mount_point: where the disk is mounted before the program starts; "" without a disk
    :ivar start: when it starts
    """

    files: FileTree
    command: tuple[str, ...]
    mode: Mode
    environment: Mapping[str, str] = field(default_factory=dict)
    mount_point: str = ""
    start: Start = Start.AT_ONCE


def build(
    payload: Payload, modules: Sequence[Path], init: bytes, disk_modules: Sequence[Path] = ()
) -> bytearray:
    """Pack a payload with the first process and the kernel modules.

    :param modules: KVM's modules, uncompressed, in load order
    :param disk_modules: the modules for mounting the disk, used if there is a mount point
    :raises UsageError: the payload has files below the mount point
    """
    lab = {
        "mode": payload.mode.value.encode(),
        "command": _nul_separated(payload.command),
        "environ": _nul_separated([f"{key}={value}" for key, value in payload.environment.items()]),
    }
    lab |= _module_files("modules", modules)
    if payload.start is Start.ON_INPUT:
        lab["wait"] = b""
    if place := payload.mount_point:
        if payload.files.has_below(place):
            raise UsageError(
                f"--disk: mounting it at {place} would hide files there; give another mount point"
            )
        payload.files.add_directory(place)
        lab |= _module_files("disk", disk_modules) | {"mount-point": os.fsencode(place)}
    own = FileTree()
    own.put("/init", init, 0o755)
    own.put_console()
    for name, content in lab.items():
        # /lab is reserved: FileTree.put refuses it.
        own._put(f"/lab/{name}", _Node(stat.S_IFREG | 0o644, content))  # noqa: SLF001
    archive = payload.files.archive()
    archive += own.archive()
    return archive


def _module_files(directory: str, modules: Sequence[Path]) -> dict[str, bytes]:
    files = {f"{directory}/{module.name}": module.read_bytes() for module in modules}
    return files | {f"{directory}.list": "".join(f"/lab/{name}\n" for name in files).encode()}


def _nul_separated(words: Sequence[str]) -> bytes:
    return b"".join(os.fsencode(word) + b"\0" for word in words)


def _cpio_entry(number: int, name: str, node: _Node) -> Iterator[bytes]:
    encoded = os.fsencode(name) + b"\0"
    links = 2 if stat.S_ISDIR(node.mode) else 1
    numbers = (
        number,
        node.mode,
        0,
        0,
        links,
        node.modified & 0xFFFFFFFF,
        len(node.content),
        0,
        0,
        *node.device,
        len(encoded),
        0,
    )
    header = b"070701" + b"".join(b"%08X" % value for value in numbers) + encoded
    yield header + b"\0" * (-len(header) % 4)
    yield node.content
    yield b"\0" * (-len(node.content) % 4)
