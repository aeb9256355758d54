"""Extracting vmlinuz and modules from packages, a build tree or this host's installed kernels.

Uncompressed copies are written to a work directory.
"""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kvmprobe.errors import KernelNotFound, UsageError, errno_name
from kvmprobe.lab import debfile, modules
from kvmprobe.lab.kernel_release import Banner, read_banner
from kvmprobe.lab.packages import version_key

if TYPE_CHECKING:
    from collections.abc import Iterator

_VMLINUZ = re.compile(r"boot/vmlinu[xz]-[^/]+|(?:usr/)?lib/modules/[^/]+/vmlinuz")
_BUILTIN = "modules.builtin"
_USUAL_FOLDERS = ("arch/x86/kvm", "virt/lib", "drivers/ata", "drivers/scsi", "fs/ext4", "fs/jbd2")
_BOOT_IMAGE = Path("arch/x86/boot/bzImage")


@dataclass(frozen=True, slots=True)
class Pieces:
    """A kernel in a work directory.

    :ivar modules: KVM's modules in load order, none if KVM is built in
    :ivar disk_modules: modules for mounting a disk in load order, without those built in
    """

    banner: Banner
    vmlinuz: Path
    modules: tuple[Path, ...]
    disk_modules: tuple[Path, ...] = ()


def from_debs(debs: tuple[Path, ...], work: Path) -> Pieces:
    """Extract a kernel from its packages.

    :raises UsageError: a package is damaged, none has a vmlinuz, or they are of different kernels
    :raises KernelNotFound: the packages have no KVM modules
    """
    vmlinuz = work / "vmlinuz"
    builtin: set[str] = set()
    passed: set[str] = set()

    def fetch(names: frozenset[str]) -> dict[str, Path]:
        have: dict[str, Path] = {}
        for path, content in (file for deb in debs for file in debfile.files(deb)):
            base = path.rpartition("/")[2]
            if _VMLINUZ.fullmatch(path) and "vmlinuz" not in passed:
                vmlinuz.write_bytes(content.read())
                passed.add("vmlinuz")
            elif base == _BUILTIN:
                builtin.update(_names_of(content.read().decode("utf-8", "replace")))
            elif (name := modules.module_name(base)) in names:
                have[name] = _placed(content.read(), base, work)
            # The rest is most of the package: stop when all files are found.
            if have.keys() >= names and "vmlinuz" in passed:
                break
        return have

    found = modules.gather(fetch, lambda name: name in builtin)
    if "vmlinuz" not in passed:
        names = ", ".join(deb.name for deb in debs)
        raise UsageError(
            f"no vmlinuz in {names}: since 7.0 it is in the linux-binary package, give that as well"
        )
    return _checked(vmlinuz, found, modules.gather_for_disk(fetch), vmlinuz)


def from_tree(vmlinuz: Path, tree: Path, work: Path) -> Pieces:
    """Copy a kernel, and its modules from a build tree or /lib/modules/RELEASE.

    :raises UsageError: not a kernel image, unreadable, or the modules are of another build
    :raises KernelNotFound: the tree has no KVM modules
    """
    banner = read_banner(vmlinuz)
    copy = work / "vmlinuz"
    shutil.copyfile(vmlinuz, copy)

    def fetch(names: frozenset[str]) -> dict[str, Path]:
        return {
            name: _placed(path.read_bytes(), path.name, work)
            for name, path in _find_modules(tree, names, banner.release).items()
        }

    found = modules.gather(fetch, lambda name: name in _builtin_of(tree, banner.release))
    # Searching for a module that is built in would walk the whole tree.
    builtin = _builtin_of(tree, banner.release)
    for_disk = modules.gather_for_disk(lambda names: fetch(names - builtin))
    for module in (*found, *for_disk):
        modules.drop_debug_sections(module)
    return _checked(copy, found, for_disk, vmlinuz)


def tree_of(vmlinuz: Path) -> Path:
    """Find the modules of a kernel image by its path.

    :raises UsageError: they are not found
    """
    image = vmlinuz.resolve()
    guesses = [Path("/lib/modules") / read_banner(vmlinuz).release]
    if image.parts[-4:] == _BOOT_IMAGE.parts:
        guesses.insert(0, image.parents[3])
    if image.name == "vmlinuz":
        guesses.insert(0, image.parent)
    for guess in guesses:
        if any((guess / name).exists() for name in (_BUILTIN, "kernel", "modules.order")):
            return guess
    raise UsageError(
        f"{vmlinuz}: its modules were not found in {', '.join(map(str, guesses))}; "
        "give its build tree or lib/modules/RELEASE with --modules"
    )


def boot_image_of(tree: Path) -> Path:
    """Return the bzImage of a build tree.

    :raises UsageError: not a kernel build tree, or not built
    """
    image = tree / _BOOT_IMAGE
    if not image.is_file():
        raise UsageError(f"{tree}: not a kernel build tree, or not built: {image} does not exist")
    return image


def installed(root: Path = Path("/")) -> tuple[Path, Path]:
    """Return vmlinuz and modules directory of the newest kernel installed below ``root``.

    :raises KernelNotFound: none is installed
    :raises UsageError: this user cannot read it
    """
    present: dict[str, tuple[Path, Path]] = {}
    for tree in (*root.glob("lib/modules/*"), *root.glob("usr/lib/modules/*")):
        for image in (root / "boot" / f"vmlinuz-{tree.name}", tree / "vmlinuz"):
            if image.exists():
                present.setdefault(tree.name, (image, tree))
    if not present:
        raise KernelNotFound(
            f"no installed kernel with modules under {root / 'boot'} and {root / 'lib/modules'}; "
            "give a packaged version instead, for example --kernel 6.12"
        )
    image, tree = present[max(present, key=version_key)]
    if not os.access(image, os.R_OK):
        raise UsageError(
            f"{image}: permission denied; copy it as root and give the path of the copy"
        )
    return image, tree


def _checked(
    copy: Path, found: tuple[Path, ...], for_disk: tuple[Path, ...], original: Path
) -> Pieces:
    banner = read_banner(copy)
    modules.check_release((*found, *for_disk), banner.release, original)
    return Pieces(banner, copy, found, for_disk)


def _placed(content: bytes, file_name: str, work: Path) -> Path:
    target = work / f"{file_name.partition('.ko')[0]}.ko"
    target.write_bytes(modules.decompressed(content, file_name))
    return target


def _find_modules(tree: Path, names: frozenset[str], release: str) -> dict[str, Path]:
    if not tree.is_dir():
        raise UsageError(f"{tree}: no such directory (modules of the kernel)")
    # A build tree has tens of thousands of directories: look in the usual ones first.
    found: dict[str, Path] = {}
    for top in (tree, tree / "kernel"):
        for folder in _USUAL_FOLDERS:
            found.update(_modules_in(sorted((top / folder).glob("*.ko*")), names))
    if missing := names - found.keys():
        # ORDER: paths with this release last, so that they override those of other kernels.
        paths = sorted(_walk(tree), key=lambda path: (release in path.parts, path))
        found.update(_modules_in(paths, frozenset(missing)))
    return found


def _modules_in(paths: list[Path], names: frozenset[str]) -> dict[str, Path]:
    named = ((modules.module_name(path.name), path) for path in paths)
    return {name: path for name, path in named if name in names}


def _walk(tree: Path) -> Iterator[Path]:
    def unreadable(error: OSError) -> None:
        raise UsageError(f"{error.filename}: {errno_name(error.errno or 0)}") from error

    for folder, _, names in os.walk(tree, onerror=unreadable):
        yield from (Path(folder) / name for name in names if ".ko" in name)


def _builtin_of(tree: Path, release: str) -> set[str]:
    for path in (tree / _BUILTIN, tree / "lib/modules" / release / _BUILTIN):
        if path.is_file():
            return _names_of(path.read_text(encoding="utf-8"))
    return set()


def _names_of(listing: str) -> set[str]:
    return {modules.module_name(line.rpartition("/")[2]) for line in listing.splitlines()}
