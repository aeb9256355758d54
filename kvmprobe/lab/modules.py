"""Kernel module files: decompressing, .modinfo, load order."""

from __future__ import annotations

import gzip
import lzma
import re
import shutil
import subprocess
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmprobe.errors import KernelNotFound, UsageError
from kvmprobe.lab import elf, zstd

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

KVM_INTEL = "kvm_intel"
LIKELY = (KVM_INTEL, "kvm", "irqbypass")
# Driver of the emulator's PIIX3, SCSI disk driver (for ATA disks as well), file system.
DISK = ("ata_piix", "sd_mod", "ext4")
_DISK_LIKELY = (
    *("libata", "scsi_mod", "scsi_common", "t10_pi", "crc_t10dif", "crc64", "crc64_rocksoft"),
    *("jbd2", "mbcache", "crc16", "crc32c_generic", "crct10dif_common", "crct10dif_generic"),
)
_FILE = re.compile(r"([\w-]+)\.ko(?:\.(xz|zst|gz))?")


@dataclass(frozen=True, slots=True)
class ModuleInfo:
    """The .modinfo section of a module.

    :ivar release: the kernel it was built for
    :ivar wants: its "pre" soft dependencies, which it may request while it is loaded
    """

    name: str
    depends: tuple[str, ...]
    release: str
    wants: tuple[str, ...] = ()


def module_name(file_name: str) -> str:
    """Return ``kvm_intel`` for ``kvm-intel.ko.xz``, and "" for a file that is not a module."""
    found = _FILE.fullmatch(file_name)
    return found[1].replace("-", "_") if found else ""


def decompressed(content: bytes, file_name: str) -> bytes:
    """Return a module's ELF file, decompressed as the file name says.

    :raises UsageError: damaged
    """
    try:
        if file_name.endswith(".xz"):
            return lzma.decompress(content)
        if file_name.endswith(".gz"):
            return gzip.decompress(content)
        if file_name.endswith(".zst"):
            return zstd.decompressed(content)
    except (lzma.LZMAError, OSError, EOFError, zlib.error, ValueError) as error:
        raise UsageError(f"{file_name}: damaged: {error}") from error
    return content


def read_info(module: Path) -> ModuleInfo:
    """Read the .modinfo section.

    :raises UsageError: the file is not a kernel module
    """
    with elf.opened(module) as file:
        content = elf.section(file, ".modinfo")
    if not content:
        raise UsageError(f"{module}: not a kernel module (no .modinfo section)")
    entries = [entry.partition("=") for entry in content.decode("utf-8", "replace").split("\0")]
    fields = {key: value for key, _, value in entries}
    depends = (name.replace("-", "_") for name in fields.get("depends", "").split(",") if name)
    release = (fields.get("vermagic", "").split() or [""])[0]
    name = fields.get("name", "").replace("-", "_") or module_name(module.name)
    return ModuleInfo(name, tuple(depends), release, tuple(_soft_dependencies(entries)))


def gather(
    fetch: Callable[[frozenset[str]], Mapping[str, Path]], is_builtin: Callable[[str], bool]
) -> tuple[Path, ...]:
    """Return kvm_intel and its dependencies in load order; none if it is built in.

    :param fetch: returns the modules that exist, by name (``kvm_intel``), as uncompressed files
    :raises KernelNotFound: kvm_intel or a dependency is neither a module nor built in
    """
    have = dict(fetch(frozenset(LIKELY)))
    if KVM_INTEL not in have:
        if is_builtin(KVM_INTEL):
            return ()
        raise KernelNotFound("the kernel has no kvm-intel module, and KVM is not built in")
    infos: dict[str, ModuleInfo] = {}
    missing = {KVM_INTEL}
    while missing:
        if unknown := frozenset(missing - have.keys()):
            have.update(fetch(unknown))
        for name in missing:
            if name not in have:
                raise KernelNotFound(
                    f"the kernel's module {name}, which kvm-intel needs, is missing"
                )
            infos[name] = read_info(have[name])
        missing = {need for info in infos.values() for need in info.depends} - infos.keys()
    return tuple(have[name] for name in _in_load_order((KVM_INTEL,), infos))


def gather_for_disk(fetch: Callable[[frozenset[str]], Mapping[str, Path]]) -> tuple[Path, ...]:
    """Return the modules for mounting a disk in load order, as far as the kernel has them.

    Others may be built in or missing; packages need not say which.  If one is missing, mounting
    fails in the guest with a message.

    :param fetch: as for :func:`gather`
    """
    have = dict(fetch(frozenset((*DISK, *_DISK_LIKELY))))
    roots = tuple(name for name in DISK if name in have)
    asked = {*DISK, *_DISK_LIKELY}
    infos: dict[str, ModuleInfo] = {}
    missing = set(roots)
    while missing:
        if unknown := frozenset(missing - asked):
            have.update(fetch(unknown))
            asked |= unknown
        infos |= {name: read_info(have[name]) for name in missing & have.keys()}
        needs = {need for info in infos.values() for need in (*info.wants, *info.depends)}
        missing = needs - infos.keys() - (asked - have.keys())
    return tuple(have[name] for name in _in_load_order(roots, infos))


def check_release(modules: tuple[Path, ...], release: str, vmlinuz: Path) -> None:
    """Check that modules were built for this kernel.

    :raises UsageError: one was built for another kernel
    """
    for module in modules:
        built_for = read_info(module).release
        if built_for != release:
            raise UsageError(
                f"{module.name} was built for kernel {built_for!r}, but {vmlinuz} is {release!r}: "
                "use both from the same build (the kernel would refuse the module)"
            )


def drop_debug_sections(module: Path) -> None:
    """Remove debug sections (often over 50 MB) from a module if ``strip`` is installed."""
    with elf.opened(module) as file:
        has_debug = any(section.name.startswith(".debug_") for section in file.iter_sections())
    if has_debug and shutil.which("strip"):
        subprocess.run(["strip", "--strip-debug", module], check=False, capture_output=True)


# "softdep=pre: A B post: C".  An algorithm (crypto-crc32c) is an alias, not a file name; the module
# of its plain implementation is crc32c_generic.
def _soft_dependencies(entries: Sequence[tuple[str, str, str]]) -> Iterator[str]:
    for text in (value for key, _, value in entries if key == "softdep"):
        before = text.partition("post:")[0].removeprefix("pre:")
        for name in before.replace("-", "_").split():
            plain = name.removeprefix("crypto_")
            yield from (plain, f"{plain}_generic")


def _in_load_order(roots: tuple[str, ...], infos: Mapping[str, ModuleInfo]) -> list[str]:
    order: dict[str, None] = {}

    def visit(name: str, path: tuple[str, ...]) -> None:
        if name in path:
            raise UsageError(f"circular module dependencies: {' -> '.join((*path, name))}")
        for need in (*infos[name].wants, *infos[name].depends):
            if need in infos:
                visit(need, (*path, name))
        order[name] = None

    for root in roots:
        visit(root, ())
    return list(order)
