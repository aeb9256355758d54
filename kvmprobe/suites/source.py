"""Choosing the package of a kernel's source."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kvmprobe.errors import DownloadFailed, UsageError
from kvmprobe.lab import debfile
from kvmprobe.lab.download import sha256_of
from kvmprobe.lab.packages import upstream, version_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from kvmprobe.lab.archive import Archives
    from kvmprobe.lab.kernel_store import Kernel
    from kvmprobe.lab.packages import Package
    from kvmprobe.progress import Progress

PREFIX = "linux-source-"
_PACKAGE = re.compile(r"(?P<name>linux-source-\d[\w.]*)(?:=(?P<version>\S+))?")
_SERIES = re.compile(r"\d+\.\d+")


@dataclass(frozen=True, slots=True)
class Source:
    """A kernel's source in a .deb.

    :ivar name: the package with its version, or the file
    :ivar sha256: of the .deb
    :ivar uri: its address in an archive; empty for a file
    """

    name: str
    deb: Path
    sha256: str
    uri: str = ""

    @property
    def facts(self) -> dict[str, Any]:
        """What a run records of it."""
        files = [{"name": self.deb.name, "url": self.uri}] if self.uri.startswith("http") else []
        return {"suite": self.name, "input_files": files}


def source_for(
    kernel: Kernel, wanted: str | None, archives: Archives, progress: Progress
) -> Source:
    """Return the source package, fetched and verified.

    :param wanted: ``NAME`` for the newest of its versions, ``NAME=VERSION``, or the path of a
        .deb; None for the source of that kernel
    :raises UsageError: it is not the name of a source package, or not a .deb
    :raises DownloadFailed: the archives do not have it
    """
    if wanted is not None and (wanted.endswith(".deb") or "/" in wanted):
        return _of_file(Path(wanted))
    listed = archives.packages((PREFIX,), progress)
    same = chosen(listed, kernel, wanted)
    deb = archives.fetch(same, progress)
    return Source(str(same[0]), deb, same[0].sha256, same[0].uri)


def chosen(listed: Sequence[Package], kernel: Kernel, wanted: str | None) -> tuple[Package, ...]:
    """Return the package in each archive that has it.

    Of a kernel that is no package, or whose source is not listed, that is the newest of its series.

    :raises UsageError: ``wanted`` is not the name of a source package
    :raises DownloadFailed: there is none
    """
    if wanted is None:
        found = _of_kernel(listed, kernel)
        what = f"the source of {kernel.label}"
    elif match := _PACKAGE.fullmatch(wanted):
        found = [p for p in listed if p.name == match["name"]]
        if match["version"]:
            found = [p for p in found if p.version == match["version"]]
        what = wanted
    else:
        raise UsageError(
            f"--source {wanted}: expected linux-source-VERSION, linux-source-VERSION=DEBIANVERSION "
            "or the path of a .deb"
        )
    if not found:
        offered = sorted({p.name for p in listed})
        raise DownloadFailed(
            f"the archives do not have {what}; they have {', '.join(offered) or 'no source'}; "
            "name one with --source"
        )
    best = max(found, key=lambda p: version_key(p.version))
    return tuple(p for p in found if p.sha256 == best.sha256)


def _of_kernel(listed: Iterable[Package], kernel: Kernel) -> list[Package]:
    series = _SERIES.match(kernel.label)
    own = [p for p in listed if series and p.name == f"{PREFIX}{series[0]}"]
    packaged = [p for p in own if f" {p.version} " in kernel.source]
    return packaged or [p for p in own if upstream(p.version) == kernel.label] or own


def _of_file(path: Path) -> Source:
    if not path.is_file():
        raise UsageError(f"--source {path}: no such file")
    if not debfile.is_deb(path):
        raise UsageError(f"--source {path}: not a Debian package")
    return Source(str(path), path, sha256_of(path))
