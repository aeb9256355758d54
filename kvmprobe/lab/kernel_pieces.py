"""Taking vmlinuz and the KVM modules out of what holds them: packages, a build tree, this machine.

Puts uncompressed copies into a work directory.  Layer: lab; knows no archive and no cache.
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

    :ivar modules: KVM's in load order, none if it is built in
    :ivar disk_modules: those there are of what mounting a disk takes, in load order
    """

    banner: Banner
    vmlinuz: Path
    modules: tuple[Path, ...]
    disk_modules: tuple[Path, ...] = ()


def from_debs(debs: tuple[Path, ...], work: Path) -> Pieces:
    """Take a kernel out of the packages that together hold it.

    :raises UsageError: damaged, without a vmlinuz, or of different kernels
    :raises KernelNotFound: without the KVM modules
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
            # The rest of the package is most of its size: stop as soon as all is there.
            if have.keys() >= names and "vmlinuz" in passed:
                break
        return have

    found = modules.gather(fetch, lambda name: name in builtin)
    if "vmlinuz" not in passed:
        names = ", ".join(deb.name for deb in debs)
        raise UsageError(f"no vmlinuz in {names}: from 7.0 on it is in the linux-binary package")
    return _checked(vmlinuz, found, modules.gather_for_disk(fetch), vmlinuz)


def from_tree(vmlinuz: Path, tree: Path, work: Path) -> Pieces:
    """Take a kernel's modules from a build tree or from /lib/modules/RELEASE.

    :raises UsageError: not a kernel image, unreadable, or modules of another build
    :raises KernelNotFound: without the KVM modules
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
    # Looking for what is built in would be a walk through the whole tree.
    builtin = _builtin_of(tree, banner.release)
    for_disk = modules.gather_for_disk(lambda names: fetch(names - builtin))
    for module in (*found, *for_disk):
        modules.drop_debug_sections(module)
    return _checked(copy, found, for_disk, vmlinuz)


def tree_of(vmlinuz: Path) -> Path:
    """Guess where the modules of a kernel image lie, from where the image lies.

    :raises UsageError: there is nothing of the kind
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
        f"where are the modules of {vmlinuz}? "
        "--modules-dir names its build tree or lib/modules/RELEASE"
    )


def boot_image_of(tree: Path) -> Path:
    """Return the bzImage of a build tree.

    :raises UsageError: it is no kernel build tree, or not built
    """
    image = tree / _BOOT_IMAGE
    if not image.is_file():
        raise UsageError(f"{tree} is no built kernel tree: {image} does not exist")
    return image


def installed(root: Path = Path("/")) -> tuple[Path, Path]:
    """Return vmlinuz and modules directory of the newest kernel installed below ``root``.

    :raises KernelNotFound: none is
    :raises UsageError: it cannot be read by this user
    """
    present: dict[str, tuple[Path, Path]] = {}
    for tree in (*root.glob("lib/modules/*"), *root.glob("usr/lib/modules/*")):
        for image in (root / "boot" / f"vmlinuz-{tree.name}", tree / "vmlinuz"):
            if image.exists():
                present.setdefault(tree.name, (image, tree))
    if not present:
        raise KernelNotFound(
            f"no installed kernel with modules under {root / 'boot'} and {root / 'lib/modules'}; "
            "name a packaged version instead, for example 6.12"
        )
    image, tree = present[max(present, key=version_key)]
    if not os.access(image, os.R_OK):
        raise UsageError(
            f"{image} is not readable for you: copy it with sudo and give the copy's path"
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
        raise UsageError(f"{tree}: no such directory of modules")
    # A build tree has tens of thousands of directories: look where these modules always are first.
    found: dict[str, Path] = {}
    for top in (tree, tree / "kernel"):
        for folder in _USUAL_FOLDERS:
            found.update(_modules_in(sorted((top / folder).glob("*.ko*")), names))
    if missing := names - found.keys():
        # ORDER: paths with the release in them last, so that they win over other kernels'.
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
