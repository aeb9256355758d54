"""``--kernel SPEC``: from the user's text to the files of a packaged, built or installed kernel."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kvmprobe.errors import (
    DownloadFailed,
    KernelNotFound,
    KvmprobeError,
    MissingTools,
    UsageError,
    VerificationFailed,
)
from kvmprobe.lab import debfile, kernel_catalog, kernel_pieces, kernel_store
from kvmprobe.lab.download import sha256_of
from kvmprobe.lab.kernel_release import is_kernel
from kvmprobe.lab.kernel_store import Kernel
from kvmprobe.lab.packages import version_key

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kvmprobe.lab.archive import Archives
    from kvmprobe.lab.kernel_catalog import Candidate
    from kvmprobe.progress import Progress

__all__ = ["SPEC_FORMS", "Kernel", "available", "ladder", "resolve"]

SPEC_FORMS = (
    "a packaged version or a prefix of one (6.12.95, 6.12), a release (6.12.95+deb12-cloud-amd64), "
    "the path of kernel .deb files (separated by commas), of a bzImage or of a built kernel tree, "
    "or 'installed'"
)
_MOST_TRIES = 4
_STALE_SECONDS = 600


def resolve(
    spec: str | None, *, modules_dir: Path | None, archives: Archives, progress: Progress
) -> Kernel:
    """Return the kernel for ``spec``; fetch and extract it if it is not in the cache.

    :param spec: one of ``SPEC_FORMS``; None for the newest packaged kernel that has its modules
    :param modules_dir: the modules of a bzImage; None to find them by its path
    :raises UsageError: SPEC has another form, its files are not a kernel with modules, or
        ``modules_dir`` is given for packages
    :raises KernelNotFound: there is no such kernel; the message has the nearest versions
    :raises DownloadFailed: it cannot be fetched; VerificationFailed: its hash is wrong
    :raises NoSpace: the file system of the cache is full
    """
    kernel = _resolved(spec, modules_dir, archives, progress)
    kernel_store.use(kernel)
    return kernel


def available(archives: Archives, progress: Progress) -> tuple[Candidate, ...]:
    """Return the packaged kernels of the preferred flavour, newest first, one per version."""
    listed = kernel_catalog.candidates(archives.packages(kernel_catalog.PREFIXES, progress))
    first: dict[str, Candidate] = {}
    for candidate in kernel_catalog.preferred(listed):
        first.setdefault(candidate.label, candidate)
    return tuple(first.values())


@dataclass(frozen=True, slots=True)
class Ladder:
    """The packaged kernels from one version to another.

    :ivar ends: the labels of the two, in the order in which they were named
    :ivar labels: those with modules, oldest first
    :ivar lacking: those that are listed without their modules package, oldest first
    """

    ends: tuple[str, str]
    labels: tuple[str, ...]
    lacking: tuple[str, ...]


def ladder(one: str, other: str, archives: Archives, progress: Progress) -> Ladder:
    """Return the packaged kernels from one version to another, both included, in any order.

    :param one: a version, a prefix of one, or a release
    :raises KernelNotFound: one of the two is not packaged with its modules
    :raises LabError: the package lists are not available
    """
    start, end = (_chosen(spec, archives, progress)[0].label for spec in (one, other))
    first, last = sorted(map(version_key, (start, end)))
    listed = archives.packages(kernel_catalog.PREFIXES, progress)
    labels = [candidate.label for candidate in available(archives, progress)]
    every = dict.fromkeys((*labels, start, end))

    def within(found: Iterable[str]) -> tuple[str, ...]:
        chosen = (label for label in found if first <= version_key(label) <= last)
        return tuple(sorted(chosen, key=version_key))

    return Ladder((start, end), within(every), within(kernel_catalog.without_modules(listed)))


def _resolved(
    spec: str | None, modules_dir: Path | None, archives: Archives, progress: Progress
) -> Kernel:
    if spec is None:
        return _packaged(None, archives, progress)
    spec = spec.strip()
    if modules_dir is not None and (_is_version(spec) or spec.endswith(".deb")):
        raise UsageError(f"--modules: kernel {spec} has modules of its own; give a bzImage")
    if spec == "installed":
        vmlinuz, tree = kernel_pieces.installed()
        return _from_tree(vmlinuz, modules_dir or tree, archives, progress)
    if _is_version(spec):
        return _packaged(spec, archives, progress)
    if paths := _as_paths(spec):
        return _from_paths(paths, modules_dir, archives, progress)
    raise UsageError(
        f"--kernel {spec!r}: neither a version nor an existing file; valid: {SPEC_FORMS}"
    )


def _is_version(spec: str) -> bool:
    return kernel_catalog.looks_like_version(spec) and not spec.endswith(".deb")


def _as_paths(spec: str) -> tuple[Path, ...]:
    if spec and Path(spec).expanduser().exists():
        return (Path(spec).expanduser(),)
    words = [word for word in spec.replace(os.pathsep, ",").split(",") if word]
    if not any(os.sep in word or word.endswith(".deb") for word in words):
        return ()
    paths = tuple(Path(word).expanduser() for word in words)
    for path in paths:
        if not path.exists():
            raise UsageError(f"--kernel {spec}: {path} does not exist")
    return paths


def _from_paths(
    paths: tuple[Path, ...], modules_dir: Path | None, archives: Archives, progress: Progress
) -> Kernel:
    first = paths[0]
    try:
        if first.is_dir():
            image = kernel_pieces.boot_image_of(first)
            return _from_tree(image, modules_dir or first, archives, progress)
        if all(debfile.is_deb(path) for path in paths):
            hashes = tuple(sha256_of(path) for path in paths)
            source = ", ".join(str(path) for path in paths)
            return _from_debs(paths, hashes, source, archives, progress)
        if len(paths) == 1 and is_kernel(first):
            return _from_tree(
                first, modules_dir or kernel_pieces.tree_of(first), archives, progress
            )
    except (PermissionError, IsADirectoryError) as error:
        raise UsageError(f"{error.filename}: {error.strerror}") from error
    names = ", ".join(str(path) for path in paths)
    raise UsageError(f"--kernel {names}: neither .deb packages nor an x86 kernel image")


def _from_tree(vmlinuz: Path, tree: Path, archives: Archives, progress: Progress) -> Kernel:
    progress.stage(f"kernel: copy {vmlinuz}")
    return kernel_store.make(
        archives.cache,
        f"{vmlinuz} with modules of {tree}",
        progress,
        lambda work: kernel_pieces.from_tree(vmlinuz, tree, work),
    )


def _from_debs(
    debs: tuple[Path, ...],
    hashes: tuple[str, ...],
    source: str,
    archives: Archives,
    progress: Progress,
) -> Kernel:
    key = kernel_store.key_of(hashes)
    if kernel := kernel_store.load(archives.cache, key):
        return kernel
    progress.stage(f"kernel: unpack {debs[0].name}")
    return kernel_store.make(
        archives.cache, source, progress, lambda work: kernel_pieces.from_debs(debs, work), key
    )


def _packaged(spec: str | None, archives: Archives, progress: Progress) -> Kernel:
    try:
        chosen = _chosen(spec, archives, progress)
    except (DownloadFailed, VerificationFailed, KernelNotFound, MissingTools) as error:
        # A kernel in the cache can be used without the archive, or if the archive has removed it.
        if kernel := _kept(spec, archives):
            progress.stage(f"kernel: using the copy in the cache, because: {error}")
            return kernel
        raise
    failures: list[KvmprobeError] = []
    for candidate in chosen[:_MOST_TRIES]:
        try:
            return _fetched(candidate, archives, progress)
        except (DownloadFailed, VerificationFailed) as error:
            failures.append(error)
            progress.stage(f"kernel: {candidate} cannot be fetched: {error}")
    text = "\n  ".join(str(failure) for failure in failures)
    is_forged = any(isinstance(failure, VerificationFailed) for failure in failures)
    kind = VerificationFailed if is_forged else DownloadFailed
    raise kind(f"none of the packages for kernel {spec or 'newest'} could be fetched:\n  {text}")


def _chosen(spec: str | None, archives: Archives, progress: Progress) -> tuple[Candidate, ...]:
    packages = archives.packages(kernel_catalog.PREFIXES, progress)
    chosen = kernel_catalog.select(kernel_catalog.candidates(packages), spec)
    if not chosen and archives.renew_if_older(_STALE_SECONDS, progress):
        packages = archives.packages(kernel_catalog.PREFIXES, progress)
        chosen = kernel_catalog.select(kernel_catalog.candidates(packages), spec)
    if chosen:
        return chosen
    offered = kernel_catalog.candidates(packages)
    labels = [candidate.label for candidate in kernel_catalog.preferred(offered)]
    near = ", ".join(kernel_catalog.nearest(labels, spec or "")) or "none"
    reason = "is not in the package lists"
    if any(
        kernel_catalog.begins(spec, label) for label in kernel_catalog.without_modules(packages)
    ):
        reason = "is listed without its modules package, which has KVM"
    raise KernelNotFound(f"kernel {spec or 'of any version'} {reason}; nearest versions: {near}")


def _fetched(candidate: Candidate, archives: Archives, progress: Progress) -> Kernel:
    hashes = tuple(part[0].sha256 for part in candidate.parts)
    key = kernel_store.key_of(hashes)
    if kernel := kernel_store.load(archives.cache, key):
        return kernel
    if found := kernel_store.entry(archives.cache, key):
        damaged = ", ".join(str(path) for path in found.damaged)
        progress.stage(f"kernel: damaged in the cache, fetched again: {damaged}")
    debs = tuple(archives.fetch(part, progress) for part in candidate.parts)
    kernel = _from_debs(debs, hashes, str(candidate), archives, progress)
    for deb in debs:
        # The extracted files are kept; the packages of twelve kernels would take 400 MB more.
        deb.unlink(missing_ok=True)
    return kernel


def _kept(spec: str | None, archives: Archives) -> Kernel | None:
    for kernel in kernel_store.every(archives.cache):
        if spec in (kernel.label, kernel.release):
            return kernel
    return None
