"""Which kernels the archives offer, and which of them the cache has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmprobe.lab import kernel_catalog, kernel_store
from kvmprobe.lab.packages import version_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from kvmprobe.lab.kernel_catalog import Candidate
    from kvmprobe.lab.kernel_store import Entry
    from kvmprobe.lab.packages import Package

_DEBUG = "-dbg"


@dataclass(frozen=True, slots=True)
class Offer:
    """One package version of a kernel, or an entry of the cache that no archive offers.

    :ivar label: upstream version, ``6.12.95``
    :ivar version: package version; empty if no archive offers it
    :ivar suites: the suites that have it, each once
    :ivar nbytes: size of its packages; 0 if no archive offers it
    :ivar has_modules: False if its modules, and with them KVM, are in a package that is not listed
    :ivar has_debug: the archives have its ``-dbg`` package
    :ivar kept: its entry in the cache
    """

    label: str
    release: str
    version: str
    suites: tuple[str, ...]
    nbytes: int
    has_modules: bool
    has_debug: bool
    kept: Entry | None


def offers(packages: Iterable[Package], entries: Mapping[str, Entry]) -> tuple[Offer, ...]:
    """Return the kernels of the preferred flavour, newest first, then what only the cache has.

    :param entries: of the cache, by key
    """
    listed = tuple(packages)
    debug = {(p.name, p.version) for p in listed if p.name.endswith(_DEBUG)}
    found = sorted(
        kernel_catalog.images(listed), key=lambda pair: kernel_catalog.newest_first(pair[0])
    )
    flavoured = set(kernel_catalog.preferred(tuple(candidate for candidate, _ in found)))
    rows: dict[tuple[str, str], Offer] = {}
    left = dict(entries)
    for candidate, has_modules in reversed(found):
        if candidate not in flavoured:
            continue
        kept = left.pop(_key(candidate), None)
        named = candidate.release, candidate.version
        has_debug = (f"linux-image-{candidate.release}{_DEBUG}", candidate.version) in debug
        offer = _offer(candidate, kept, has_modules=has_modules, has_debug=has_debug)
        # Signed and unsigned packages have the same files; the signed ones come first.
        if kept is not None or named not in rows:
            rows[named] = offer
    by_version = sorted(left.values(), key=lambda entry: version_key(entry.label), reverse=True)
    return (*rows.values(), *map(_only_kept, by_version))


def _offer(
    candidate: Candidate, kept: Entry | None, *, has_modules: bool, has_debug: bool
) -> Offer:
    suites = dict.fromkeys(package.suite for part in candidate.parts for package in part)
    nbytes = sum(part[0].size for part in candidate.parts)
    named = candidate.label, candidate.release, candidate.version
    return Offer(*named, tuple(suites), nbytes, has_modules, has_debug, kept)


def _only_kept(entry: Entry) -> Offer:
    named = entry.label, entry.release, ""
    return Offer(*named, (), 0, has_modules=True, has_debug=False, kept=entry)


def _key(candidate: Candidate) -> str:
    return kernel_store.key_of(tuple(part[0].sha256 for part in candidate.parts))
