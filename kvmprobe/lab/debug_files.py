"""The ``-dbg`` package of a kernel: its image and KVM's modules with line numbers.

Fetched only if the user asks for lines; the files that are wanted of it are kept in the cache.
"""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING

from kvmprobe.errors import NoDebugFiles
from kvmprobe.lab import debfile, kernel_catalog
from kvmprobe.lab.cache import require_space
from kvmprobe.lab.seal import is_whole, seal

if TYPE_CHECKING:
    from pathlib import Path

    from kvmprobe.lab.archive import Archives
    from kvmprobe.lab.packages import Package
    from kvmprobe.progress import Progress
    from kvmprobe.results.record import Target

# Below /usr/lib/debug: boot/vmlinux-RELEASE, lib/modules/RELEASE/kernel/arch/x86/kvm/kvm.ko.
_WANTED = {
    "vmlinux": re.compile(r".*/vmlinux(-[^/]*)?"),
    "kvm": re.compile(r".*/kvm\.ko(\.debug)?"),
    "kvm_intel": re.compile(r".*/kvm-intel\.ko(\.debug)?"),
}
# What ``Candidate`` says: the packages, their version and suite.
_SOURCE = re.compile(
    r"linux-(?:image|binary)-(?:unsigned-)?(?P<release>\S+?)(?:-unsigned)?(?: \+ \S+)*"
    r" (?P<version>\S+) \(\S+\)"
)
# A kernel's image with debug information has 400 to 600 MB, and is there twice for a moment.
_FILES_BYTES = 1_500_000_000


def ensure(target: Target, archives: Archives, progress: Progress) -> dict[str, Path]:
    """Return the files by module, ``vmlinux`` for the kernel itself; fetch what is not there yet.

    :raises NoDebugFiles: the archives have no such package, or it has not all files
    :raises DownloadFailed: no archive serves it; VerificationFailed: its hash is wrong
    :raises NoSpace: the cache's file system is full
    """
    packages = _packages(target, archives, progress)
    folder = archives.cache.root / "debug" / packages[0].sha256[:24]
    if not is_whole(folder):
        require_space(archives.cache.root, _FILES_BYTES + packages[0].size, "a kernel's lines")
        deb = archives.fetch(packages, progress)
        progress.stage(f"lines: unpack {deb.name}")
        with archives.cache.scratch() as work:
            fresh = work / folder.name
            fresh.mkdir()
            _unpack(deb, fresh)
            seal(fresh)
            archives.cache.publish(fresh, folder)
        deb.unlink(missing_ok=True)
    return {name: folder / name for name in _WANTED}


def _packages(target: Target, archives: Archives, progress: Progress) -> tuple[Package, ...]:
    """Return the package in each archive that has it."""
    source = _SOURCE.fullmatch(target.source)
    if source is None:
        raise NoDebugFiles(
            f"{target.description}: no line numbers: the kernel is no package, but {target.source}"
        )
    wanted = f"linux-image-{source['release']}-dbg", source["version"]
    listed = archives.packages(kernel_catalog.PREFIXES, progress)
    found = [package for package in listed if (package.name, package.version) == wanted]
    if not found:
        raise NoDebugFiles(
            f"{target.description}: no line numbers: the archives have no package "
            f"{' '.join(wanted)}; leave out --lines, or name an archive that has it with --archive"
        )
    return tuple(package for package in found if package.sha256 == found[0].sha256)


def _unpack(deb: Path, folder: Path) -> None:
    left = dict(_WANTED)
    for path, content in debfile.files(deb):
        for name in [name for name, pattern in left.items() if pattern.fullmatch(path)]:
            with (folder / name).open("wb") as file:
                shutil.copyfileobj(content, file, 1 << 20)
            del left[name]
        if not left:
            return
    raise NoDebugFiles(f"{deb.name}: no line numbers: it has no file of {', '.join(left)}")
