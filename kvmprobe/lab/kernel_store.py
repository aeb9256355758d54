"""Kernels ready to boot, in the cache under the hash of the files that they were made of.

Each entry has a manifest with the hashes of its files, so that a damaged entry is made again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmprobe.lab.cache import Cache, disk_full_as_no_space, require_space
from kvmprobe.lab.download import sha256_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
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


def load(cache: Cache, key: str) -> Kernel | None:
    """Return an entry; None if it does not exist or its files have changed."""
    folder = cache.root / "kernels" / key
    try:
        manifest = json.loads((folder / _MANIFEST).read_bytes())
        for name, digest in manifest["files"].items():
            if sha256_of(folder / name) != digest:
                return None
        return Kernel(
            manifest["release"],
            manifest["label"],
            folder / "vmlinuz",
            tuple(folder / name for name in manifest["modules"]),
            manifest["source"],
            tuple(folder / name for name in manifest["disk_modules"]),
        )
    except (OSError, ValueError, KeyError):
        return None


def every(cache: Cache) -> Iterator[Kernel]:
    """Yield all intact entries, in no particular order."""
    for manifest in (cache.root / "kernels").glob(f"*/{_MANIFEST}"):
        if kernel := load(cache, manifest.parent.name):
            yield kernel


def labels(cache: Cache) -> frozenset[str]:
    """Return the labels of all entries, damaged ones included."""
    found: set[str] = set()
    for manifest in (cache.root / "kernels").glob(f"*/{_MANIFEST}"):
        with contextlib.suppress(OSError, ValueError, KeyError):
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
