"""Which kernels the package indices offer, and which of them a version SPEC means.  Pure.

Layer: lab.  Knows how Debian and Ubuntu name kernel packages; knows nothing of files or networks.
"""

from __future__ import annotations

import re
from bisect import bisect
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmprobe.lab.packages import Package, upstream, version_key

if TYPE_CHECKING:
    from collections.abc import Iterable

PREFIXES = ("linux-image-", "linux-binary-", "linux-modules-")
_IMAGE = re.compile(r"linux-(image|binary)-(unsigned-)?(\d.*?)(-unsigned)?")
_MODULES = re.compile(r"linux-modules-(\d.*)")
_FLAVOUR = re.compile(r"\d[\w.+~]*(?:-\d[\w.+~]*)?-([a-z][\w-]*)")
_FLAVOURS = ("cloud-amd64", "generic", "amd64")  # preferred first: small, and console built in
_META_BYTES = 1_000_000  # packages that only depend on others are far smaller
_SPEC = re.compile(r"\d+(?:\.\d+)*(?:[-+~][\w.+~-]*)?")
_NEIGHBOURS = 4


@dataclass(frozen=True, slots=True)
class Candidate:
    """A kernel that can be made of packages.

    :ivar label: upstream version, ``6.12.95``
    :ivar version: version of the packages, ``6.12.95-1~bpo12+1``
    :ivar parts: for each file needed, the archives' entries for that file
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
        """``cloud-amd64`` of ``6.12.95+deb12-cloud-amd64``."""
        found = _FLAVOUR.fullmatch(self.release)
        return found[1] if found else ""


def looks_like_version(spec: str) -> bool:
    """Tell whether ``spec`` can be a version, a prefix of one, or a release."""
    return _SPEC.fullmatch(spec) is not None


def candidates(packages: Iterable[Package]) -> tuple[Candidate, ...]:
    """Return every kernel listed with its modules: newest first, signed before unsigned."""
    images: dict[tuple[str, str, str, str], list[Package]] = defaultdict(list)
    modules: dict[tuple[str, str], list[Package]] = defaultdict(list)
    for package in packages:
        if package.name.endswith("-dbg") or package.size < _META_BYTES:
            continue
        if found := _IMAGE.fullmatch(package.name):
            images[found[3], package.version, package.name, package.sha256].append(package)
        elif found := _MODULES.fullmatch(package.name):
            modules[found[1], package.version].append(package)
    result = []
    for (release, version, name, _), same in images.items():
        parts: tuple[tuple[Package, ...], ...] = (tuple(same),)
        if name.startswith("linux-binary-") or f"linux-modules-{release}" in same[0].depends:
            first = modules.get((release, version))
            if not first:
                continue
            parts = (*parts, tuple(other for other in first if other.sha256 == first[0].sha256))
        result.append(Candidate(release, upstream(version), version, "unsigned" not in name, parts))
    return tuple(sorted(result, key=_newest_first, reverse=True))


def without_modules(packages: Iterable[Package]) -> frozenset[str]:
    """Return the labels that are listed as an image only, which cannot be used."""
    listed = tuple(packages)
    complete = {candidate.label for candidate in candidates(listed)}
    images = {
        upstream(package.version)
        for package in listed
        if _IMAGE.fullmatch(package.name) and not package.name.endswith("-dbg")
    }
    return frozenset(images - complete)


def select(offered: tuple[Candidate, ...], spec: str | None) -> tuple[Candidate, ...]:
    """Return those that ``spec`` means, best first; of no SPEC, all of the preferred flavour.

    A whole release (``6.12.95+deb12-cloud-amd64``) is taken as it is; a version or its beginning
    (``6.12``) means the preferred flavour.
    """
    if exact := tuple(candidate for candidate in offered if candidate.release == spec):
        return exact
    return tuple(c for c in preferred(offered) if spec is None or _means(spec, c))


def preferred(offered: tuple[Candidate, ...]) -> tuple[Candidate, ...]:
    """Return the candidates of the flavour that suits the emulated host best."""
    for flavour in _FLAVOURS:
        if chosen := tuple(c for c in offered if c.flavour == flavour):
            return chosen
    return offered


def nearest(labels: Iterable[str], spec: str) -> tuple[str, ...]:
    """Return the versions just below and above ``spec``, of its series if there are any."""
    known = set(labels)
    series = {label for label in known if label.split(".")[:2] == spec.split(".")[:2]}
    ordered = sorted(series or known, key=version_key)
    at = bisect([version_key(label) for label in ordered], version_key(spec))
    return tuple(ordered[max(0, at - _NEIGHBOURS) : at + _NEIGHBOURS])


def begins(spec: str | None, label: str) -> bool:
    """Tell whether ``spec`` is the version ``label`` or its beginning, in whole numbers."""
    return spec is not None and f"{label}.".startswith(f"{spec}.")


def _means(spec: str, candidate: Candidate) -> bool:
    if spec == candidate.version or begins(spec, candidate.label):
        return True
    # 6.1.0-51 and 6.12.95+deb12 are beginnings of releases; 6.1.0 alone is no version of ours.
    return ("-" in spec or "+" in spec) and candidate.release.startswith(f"{spec}-")


def _newest_first(candidate: Candidate) -> tuple[object, ...]:
    return (version_key(candidate.label), candidate.is_signed, version_key(candidate.version))
