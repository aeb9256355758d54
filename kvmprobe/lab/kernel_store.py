"""Kernels ready to boot, in the cache under the hash of the files that they were made of.

Each entry has a manifest with the hashes of its files, so that a damaged entry is made again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kvmprobe.lab.cache import DAMAGE, Cache, disk_full_as_no_space, require_space
from kvmprobe.lab.download import sha256_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from kvmprobe.lab.kernel_pieces import Pieces
    from kvmprobe.progress import Progress

_FORMAT = "2"  # part of each key: increment it when the content of entries changes
_MANIFEST = "kernel.json"
_KERNEL_BYTES = 150_000_000  # a large kernel with modules


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel to boot.

    :ivar release: as in uname -r
    :ivar label: upstream version, ``6.12.95``
    :ivar modules: uncompressed files in load order, kvm-intel last; none if KVM is built in
    :ivar source: the packages or files it was made of
    :ivar disk_modules: modules for mounting a disk in load order, without those built in
    """

    release: str
    label: str
    vmlinuz: Path
    modules: tuple[Path, ...]
    source: str
    disk_modules: tuple[Path, ...] = ()


def key_of(hashes: tuple[str, ...]) -> str:
    """Return the name of the entry made of files with these hashes."""
    return hashlib.sha256("\n".join((_FORMAT, *hashes)).encode()).hexdigest()[:24]


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry as it is on the disk.

    :ivar label: upstream version; empty if the manifest cannot be read
    :ivar nbytes: bytes on the disk
    :ivar used: time of the last use, seconds since the epoch
    :ivar damaged: its files that are missing or have another hash than the manifest says
    """

    path: Path
    label: str
    release: str
    source: str
    nbytes: int
    used: float
    damaged: tuple[Path, ...]


def load(cache: Cache, key: str) -> Kernel | None:
    """Return an entry; None if it does not exist or its files have changed."""
    folder = cache.root / "kernels" / key
    try:
        manifest = json.loads((folder / _MANIFEST).read_bytes())
        if _damaged(folder, manifest):
            return None
        return Kernel(
            manifest["release"],
            manifest["label"],
            folder / "vmlinuz",
            tuple(folder / name for name in manifest["modules"]),
            manifest["source"],
            tuple(folder / name for name in manifest["disk_modules"]),
        )
    except DAMAGE:
        return None


def every(cache: Cache) -> Iterator[Kernel]:
    """Yield all intact entries, in no particular order."""
    for manifest in (cache.root / "kernels").glob(f"*/{_MANIFEST}"):
        if kernel := load(cache, manifest.parent.name):
            yield kernel


def entries(cache: Cache) -> dict[str, Entry]:
    """Return all entries by key, damaged ones included; each file is read."""
    found = {}
    for folder in sorted((cache.root / "kernels").glob("*")):
        if entry := _entry(folder):
            found[folder.name] = entry
    return found


def entry(cache: Cache, key: str) -> Entry | None:
    """Return one entry; None if there is none."""
    return _entry(cache.root / "kernels" / key)


def use(kernel: Kernel) -> None:
    """Note that a kernel of the cache is used now, for :func:`unneeded`."""
    with contextlib.suppress(OSError):
        os.utime(kernel.vmlinuz.parent / _MANIFEST)


def unneeded(cache: Cache, seconds: float) -> tuple[Entry, ...]:
    """Return the entries that are damaged, or that nothing has used for so long."""
    since = time.time() - seconds
    every = entries(cache).values()
    return tuple(found for found in every if found.damaged or found.used <= since)


def remove(found: Entry) -> None:
    """Remove an entry."""
    shutil.rmtree(found.path, ignore_errors=True)


def _entry(folder: Path) -> Entry | None:
    file = folder / _MANIFEST
    try:
        stats = [path.stat() for path in folder.iterdir()]
        nbytes = sum(stat.st_blocks * 512 for stat in stats)
        used = max(stat.st_mtime for stat in stats)
    except (OSError, ValueError):
        return None
    try:
        manifest = json.loads(file.read_bytes())
        named = manifest["label"], manifest["release"], manifest["source"]
        return Entry(folder, *named, nbytes, file.stat().st_mtime, _damaged(folder, manifest))
    except DAMAGE:
        return Entry(folder, "", "", "", nbytes, used, (file,))


def _damaged(folder: Path, manifest: Mapping[str, Any]) -> tuple[Path, ...]:
    hashes = ((folder / name, digest) for name, digest in manifest["files"].items())
    return tuple(path for path, digest in hashes if not _has_hash(path, digest))


def _has_hash(path: Path, digest: str) -> bool:
    try:
        return sha256_of(path) == digest
    except OSError:
        return False


def labels(cache: Cache) -> frozenset[str]:
    """Return the labels of all entries, damaged ones included."""
    found: set[str] = set()
    for manifest in (cache.root / "kernels").glob(f"*/{_MANIFEST}"):
        with contextlib.suppress(*DAMAGE):
            found.add(json.loads(manifest.read_bytes())["label"])
    return frozenset(found)


def make(
    cache: Cache, source: str, progress: Progress, take: Callable[[Path], Pieces], key: str = ""
) -> Kernel:
    """Fill a work directory with ``take`` and store the result.

    :param key: the name of the entry; if empty, it is made of the hashes of the result
    :raises NoSpace: the cache's file system is full
    """
    require_space(cache.root, _KERNEL_BYTES, "unpacking a kernel")
    with (
        cache.locked(f"kernel {key or source}", progress),
        cache.scratch() as work,
        disk_full_as_no_space(cache.root, "a kernel"),
    ):
        if key and (kernel := load(cache, key)):
            return kernel
        entry = work / "kernel"
        entry.mkdir()
        pieces = take(entry)
        kept = (pieces.vmlinuz, *pieces.modules, *pieces.disk_modules)
        for stray in set(entry.iterdir()) - set(kept):
            stray.unlink()
        files = {path.name: sha256_of(path) for path in kept}
        name = key or key_of(tuple(files.values()))
        manifest = {
            "release": pieces.banner.release,
            "label": pieces.banner.label,
            "source": source,
            "modules": [path.name for path in pieces.modules],
            "disk_modules": [path.name for path in pieces.disk_modules],
            "files": files,
        }
        (entry / _MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
        final = cache.folder("kernels") / name
        cache.publish(entry, final)
        return Kernel(
            pieces.banner.release,
            pieces.banner.label,
            final / pieces.vmlinuz.name,
            tuple(final / path.name for path in pieces.modules),
            source,
            tuple(final / path.name for path in pieces.disk_modules),
        )
