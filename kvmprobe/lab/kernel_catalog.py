"""The kernels in the package indices, and selecting them by version.  Pure.

The names of kernel packages are those of Debian and Ubuntu.
"""

from __future__ import annotations

import re
from bisect import bisect
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmprobe.lab.packages import Package, upstream, version_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

PREFIXES = ("linux-image-", "linux-binary-", "linux-modules-")
_IMAGE = re.compile(r"linux-(image|binary)-(unsigned-)?(\d.*?)(-unsigned)?")
_MODULES = re.compile(r"linux-modules-(\d.*)")
_FLAVOUR = re.compile(r"\d[\w.+~]*(?:-\d[\w.+~]*)?-([a-z][\w-]*)")
_FLAVOURS = (
    "cloud-amd64",
    "generic",
    "amd64",
)  # preferred first: cloud kernels are small and have the console built in
_META_BYTES = 1_000_000  # metapackages are far smaller
_SPEC = re.compile(r"\d+(?:\.\d+)*(?:[-+~][\w.+~-]*)?")
_NEIGHBOURS = 4


@dataclass(frozen=True, slots=True)
class Candidate:
    """A packaged kernel.

    :ivar label: upstream version, ``6.12.95``
    :ivar version: package version, ``6.12.95-1~bpo12+1``
    :ivar parts: the packages it consists of; for each, the archives that have this file
    """

    release: str
    label: str
    version: str
    is_signed: bool
    parts: tuple[tuple[Package, ...], ...]

    def __str__(self) -> str:
        names = " + ".join(part[0].name for part in self.parts)
        return f"{names} {self.version} ({self.parts[0][0].suite})"

    @property
    def flavour(self) -> str:
        """The flavour: ``cloud-amd64`` for ``6.12.95+deb12-cloud-amd64``."""
        found = _FLAVOUR.fullmatch(self.release)
        return found[1] if found else ""


def looks_like_version(spec: str) -> bool:
    """Return True if ``spec`` has the form of a version, a prefix of one, or a release."""
    return _SPEC.fullmatch(spec) is not None


def candidates(packages: Iterable[Package]) -> tuple[Candidate, ...]:
    """Return all kernels that have their modules: newest first, signed before unsigned."""
    found = (candidate for candidate, has_modules in images(packages) if has_modules)
    return tuple(sorted(found, key=newest_first, reverse=True))


def images(packages: Iterable[Package]) -> Iterator[tuple[Candidate, bool]]:
    """Yield all kernels, and whether their modules are listed; without them they have no KVM."""
    listed: dict[tuple[str, str, str, str], list[Package]] = defaultdict(list)
    modules: dict[tuple[str, str], list[Package]] = defaultdict(list)
    for package in packages:
        if package.name.endswith("-dbg") or package.size < _META_BYTES:
            continue
        if found := _IMAGE.fullmatch(package.name):
            listed[found[3], package.version, package.name, package.sha256].append(package)
        elif found := _MODULES.fullmatch(package.name):
            modules[found[1], package.version].append(package)
    for (release, version, name, _), same in listed.items():
        parts: tuple[tuple[Package, ...], ...] = (tuple(same),)
        first: list[Package] = []
        apart = name.startswith("linux-binary-") or f"linux-modules-{release}" in same[0].depends
        if apart and (first := modules.get((release, version), [])):
            parts = (*parts, tuple(other for other in first if other.sha256 == first[0].sha256))
        candidate = Candidate(release, upstream(version), version, "unsigned" not in name, parts)
        yield candidate, bool(first) or not apart


def without_modules(packages: Iterable[Package]) -> frozenset[str]:
    """Return the labels of kernels whose modules package is missing, which cannot be used."""
    listed = tuple(packages)
    complete = {candidate.label for candidate in candidates(listed)}
    images = {
        upstream(package.version)
        for package in listed
        if _IMAGE.fullmatch(package.name) and not package.name.endswith("-dbg")
    }
    return frozenset(images - complete)


def select(offered: tuple[Candidate, ...], spec: str | None) -> tuple[Candidate, ...]:
    """Return the candidates that match ``spec``, best first.

    :param spec: a release (``6.12.95+deb12-cloud-amd64``) matches exactly; a version or a prefix of
        one (``6.12``) matches the preferred flavour; None matches all of the preferred flavour
    """
    if exact := tuple(candidate for candidate in offered if candidate.release == spec):
        return exact
    return tuple(c for c in preferred(offered) if spec is None or _means(spec, c))


def preferred(offered: tuple[Candidate, ...]) -> tuple[Candidate, ...]:
    """Return the candidates of the flavour that the emulated host prefers."""
    for flavour in _FLAVOURS:
        if chosen := tuple(c for c in offered if c.flavour == flavour):
            return chosen
    return offered


def nearest(labels: Iterable[str], spec: str) -> tuple[str, ...]:
    """Return the versions next to ``spec``, from its own series if possible."""
    known = set(labels)
    series = {label for label in known if label.split(".")[:2] == spec.split(".")[:2]}
    ordered = sorted(series or known, key=version_key)
    at = bisect([version_key(label) for label in ordered], version_key(spec))
    return tuple(ordered[max(0, at - _NEIGHBOURS) : at + _NEIGHBOURS])


def begins(spec: str | None, label: str) -> bool:
    """Return True if ``spec`` is ``label`` or a prefix of it that ends between two numbers."""
    return spec is not None and f"{label}.".startswith(f"{spec}.")


def _means(spec: str, candidate: Candidate) -> bool:
    if spec == candidate.version or begins(spec, candidate.label):
        return True
    # 6.1.0-51 and 6.12.95+deb12 are prefixes of releases; 6.1.0 alone is not a version.
    return ("-" in spec or "+" in spec) and candidate.release.startswith(f"{spec}-")


def newest_first(candidate: Candidate) -> tuple[object, ...]:
    """Return a sort key: by version, then signed before unsigned, then by package version."""
    return (version_key(candidate.label), candidate.is_signed, version_key(candidate.version))
