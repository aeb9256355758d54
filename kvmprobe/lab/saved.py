"""Saved templates: booted machines in the cache, from which a later run starts without a boot.

The key of a template covers everything that its machine depends on: emulator, configuration,
kernel, files of the guest.  A template that is damaged, or that others can write, is not used.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
from collections.abc import Mapping  # noqa: TC003 - the manifest is decoded by type
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import kvmprobe
from kvmprobe.errors import KvmprobeError
from kvmprobe.lab import bochs_config
from kvmprobe.lab.cache import DAMAGE, require_space
from kvmprobe.results.codec import from_json, to_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmprobe.lab.boot_image import BootImage
    from kvmprobe.lab.cache import Cache
    from kvmprobe.lab.emulator import Emulator

_SCHEMA = "kvmprobe-template/2"
_MANIFEST = "template.json"
_FOLDER = "templates"
_BLOCK = 1 << 17
_MIB = 1 << 20
MOST_BYTES = 2 << 30
_OPTRAM = re.compile(r"^(optramimage\d): .*$", re.MULTILINE)
_CPU = re.compile(r"^cpu: .*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Booted:
    """What a machine told while it booted.

    :ivar greeting: the line that the worker wrote before it waited for input
    :ivar modules: addresses of the kernel's modules, by name
    """

    greeting: str
    modules: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class SavedTemplate:
    """The place of one template in the cache.

    :ivar cpu: the emulator's ``cpu:`` directive, which it does not save completely
    :ivar memory_mib: size of the machine's memory, MiB
    """

    cache: Cache
    key: str
    cpu: str
    memory_mib: int

    @classmethod
    def of(cls, cache: Cache, emulator: Emulator, image: BootImage) -> SavedTemplate:
        """Return the place for a machine that boots this image on this emulator."""
        text = bochs_config.text(image.memory_mib, image.processors, str(emulator.firmware), [])
        state = hashlib.sha256(f"{_SCHEMA}\0{emulator.bochs.parent.name}\0{text}".encode())
        for part in image.parts:
            state.update(f"\0{part.address:x} {len(part.content):x}\0".encode())
            state.update(part.content)
        (cpu,) = (line for line in text.splitlines() if _CPU.match(line))
        return cls(cache, state.hexdigest()[:32], cpu, image.memory_mib)

    @property
    def folder(self) -> Path:
        """Where it is, if it has been saved."""
        return self.cache.root / _FOLDER / self.key

    def booted(self) -> Booted | None:
        """Return what it told if the template is there, whole and the user's own.

        A template that is not whole is removed.
        """
        manifest = self.folder / _MANIFEST
        try:
            recorded = json.loads(manifest.read_bytes())
            whole = recorded["schema"] == _SCHEMA and recorded["files"] == hashes(self.folder)
            booted = from_json(Booted, recorded["booted"], "$.booted")
        except FileNotFoundError:
            return None
        except DAMAGE:
            whole, booted = False, None
        if not whole:
            self.discard()
            return None
        if not _is_private(self.folder):
            return None
        # The least recently used one is removed first.
        with contextlib.suppress(OSError):
            os.utime(manifest)
        return booted

    def discard(self) -> None:
        """Remove it."""
        _remove(self.folder)

    def recall(self) -> dict[str, Any] | None:
        """Return what :meth:`remember` kept; None if it was another version of kvmprobe."""
        try:
            kept = json.loads(_memory(self.folder).read_bytes())
            recorded = kept["recorded"] if kept["code"] == _code() else None
        except DAMAGE:
            return None
        return recorded if isinstance(recorded, dict) else None

    def remember(self, recorded: dict[str, Any]) -> None:
        """Keep what was found out on the machine; a full disk is no error."""
        text = json.dumps({"code": _code(), "recorded": recorded})
        with contextlib.suppress(OSError, KvmprobeError), self.cache.scratch() as work:
            file = work / "memory"
            file.write_text(text, encoding="utf-8")
            self.cache.publish(file, _memory(self.folder))

    def require_space(self) -> None:
        """Check that there is room for it.

        :raises NoSpace: there is not
        """
        require_space(self.cache.root, self.memory_mib * _MIB, "a saved template")

    def publish(self, state: Path, booted: Booted) -> None:
        """Move what the emulator saved into the cache; remove the oldest beyond the limit.

        :param state: in a scratch directory of the cache
        :raises NoSpace: the file system is full
        """
        configuration = state / "config"
        text = _OPTRAM.sub(r"\1: file=none", configuration.read_text(encoding="utf-8"))
        configuration.write_text(_CPU.sub(self.cpu, text), encoding="utf-8")
        told = to_json(Booted, booted)
        manifest = {"schema": _SCHEMA, "booted": told, "files": hashes(state)}
        (state / _MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
        state.chmod(0o700)
        self.cache.publish(state, self.folder)
        for template in excess(self.cache, MOST_BYTES):
            remove(template)


@dataclass(frozen=True, slots=True)
class Excess:
    """A saved template, and the bytes that it has on the disk."""

    path: Path
    nbytes: int


def excess(cache: Cache, most_bytes: int) -> tuple[Excess, ...]:
    """Return the least recently used templates, without which at most so many bytes are left."""
    found = sorted(_templates(cache), key=lambda item: item[0])
    total = sum(nbytes for _, nbytes, _ in found)
    beyond: list[Excess] = []
    for _, nbytes, path in found:
        if total <= most_bytes:
            break
        beyond.append(Excess(path, nbytes))
        total -= nbytes
    return tuple(beyond)


def remove(template: Excess) -> None:
    """Remove a saved template."""
    _remove(template.path)


def _templates(cache: Cache) -> Iterator[tuple[float, int, Path]]:
    """Yield time of last use, bytes on the disk and path of each."""
    folder = cache.root / _FOLDER
    for path in folder.iterdir() if folder.is_dir() else ():
        if not path.is_dir():
            continue
        try:
            nbytes = sum(file.stat().st_blocks * 512 for file in path.iterdir())
            used = (path / _MANIFEST).stat().st_mtime
        except FileNotFoundError:  # another process removes it, or has damaged it
            nbytes, used = 0, 0.0
        yield used, nbytes, path


def _memory(folder: Path) -> Path:
    return folder.with_suffix(".json")


def _remove(folder: Path) -> None:
    _memory(folder).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


@cache
def _code() -> str:
    """Return a hash of this kvmprobe's files."""
    state = hashlib.sha256()
    root = Path(kvmprobe.__file__).parent
    for file in sorted(root.rglob("*")):
        if file.suffix in {".py", ".so"}:
            state.update(f"{file.relative_to(root)}\0".encode() + file.read_bytes())
    return state.hexdigest()


def hashes(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file, without holes; the manifest's own is left out."""
    return {file.name: _hash(file) for file in sorted(folder.iterdir()) if file.name != _MANIFEST}


def _hash(file: Path) -> str:
    state = hashlib.sha256(str(file.stat().st_size).encode())
    zeros = bytes(_BLOCK)
    with file.open("rb", buffering=0) as opened:
        at = _next_data(opened.fileno(), 0)
        while at is not None:
            opened.seek(at)
            block = opened.read(_BLOCK)
            if block != zeros[: len(block)]:
                state.update(at.to_bytes(8, "little"))
                state.update(block)
            at = _next_data(opened.fileno(), at + _BLOCK)
    return state.hexdigest()


def _next_data(descriptor: int, at: int) -> int | None:
    """Return the first multiple of the block size at or behind ``at`` that has data."""
    try:
        return os.lseek(descriptor, at, os.SEEK_DATA) // _BLOCK * _BLOCK
    except OSError:  # ENXIO: a hole up to the end
        return None


def _is_private(folder: Path) -> bool:
    status = folder.stat()
    return status.st_uid == os.geteuid() and not status.st_mode & 0o022
