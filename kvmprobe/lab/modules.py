"""Kernel module files: decompressing, reading what they say of themselves, load order.

Layer: lab, bottom.  Knows nothing of where the files come from.
"""

from __future__ import annotations

import gzip
import lzma
import re
import shutil
import struct
import subprocess
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmprobe.errors import KernelNotFound, MissingTools, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

KVM_INTEL = "kvm_intel"
LIKELY = (KVM_INTEL, "kvm", "irqbypass")
# The emulator's PIIX3, SCSI disks as which Linux presents ATA disks, the file system.
DISK = ("ata_piix", "sd_mod", "ext4")
_DISK_LIKELY = (
    *("libata", "scsi_mod", "scsi_common", "t10_pi", "crc_t10dif", "crc64", "crc64_rocksoft"),
    *("jbd2", "mbcache", "crc16", "crc32c_generic", "crct10dif_common", "crct10dif_generic"),
)
_FILE = re.compile(r"([\w-]+)\.ko(?:\.(xz|zst|gz))?")
_ELF_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SECTION = struct.Struct("<IIQQQQIIQQ")


@dataclass(frozen=True, slots=True)
class ModuleInfo:
    """What a module's .modinfo section says.

    :ivar release: the kernel it was built for
    :ivar wants: what it may ask for while it is loaded: its "pre" soft dependencies
    """

    name: str
    depends: tuple[str, ...]
    release: str
    wants: tuple[str, ...] = ()


def module_name(file_name: str) -> str:
    """Return ``kvm_intel`` for ``kvm-intel.ko.xz``, and "" for a file that is no module."""
    found = _FILE.fullmatch(file_name)
    return found[1].replace("-", "_") if found else ""


def decompressed(content: bytes, file_name: str) -> bytes:
    """Return a module's ELF file, whatever it is compressed with.

    :raises UsageError: damaged
    :raises MissingTools: compressed with zstd, and the program is not here
    """
    try:
        if file_name.endswith(".xz"):
            return lzma.decompress(content)
        if file_name.endswith(".gz"):
            return gzip.decompress(content)
        if file_name.endswith(".zst"):
            command = ["zstd", "-dc"]
            return subprocess.run(command, input=content, capture_output=True, check=True).stdout
    except FileNotFoundError as error:
        raise MissingTools(("zstd",), f"decompressing {file_name}") from error
    except (lzma.LZMAError, OSError, EOFError, zlib.error, subprocess.CalledProcessError) as error:
        raise UsageError(f"{file_name}: damaged: {error}") from error
    return content


def read_info(module: Path) -> ModuleInfo:
    """Read the .modinfo section.

    :raises UsageError: the file is not a 64-bit kernel module
    """
    content = module.read_bytes()
    try:
        found = [body for name, body in _sections(content) if name == b".modinfo"]
    except (struct.error, IndexError, ValueError, OverflowError) as error:
        raise UsageError(f"{module}: not a 64-bit ELF module: {error}") from error
    if not found:
        raise UsageError(f"{module}: not a kernel module (no .modinfo section)")
    entries = [entry.partition("=") for entry in found[0].decode("utf-8", "replace").split("\0")]
    fields = {key: value for key, _, value in entries}
    depends = (name.replace("-", "_") for name in fields.get("depends", "").split(",") if name)
    release = (fields.get("vermagic", "").split() or [""])[0]
    name = fields.get("name", "").replace("-", "_") or module_name(module.name)
    return ModuleInfo(name, tuple(depends), release, tuple(_soft_dependencies(entries)))


def gather(
    fetch: Callable[[frozenset[str]], Mapping[str, Path]], is_builtin: Callable[[str], bool]
) -> tuple[Path, ...]:
    """Return kvm_intel and all that it depends on, in load order; nothing if it is built in.

    :param fetch: brings modules by name (``kvm_intel``) as uncompressed files, those that there are
    :raises KernelNotFound: kvm_intel or a dependency is neither a module nor built in
    """
    have = dict(fetch(frozenset(LIKELY)))
    if KVM_INTEL not in have:
        if is_builtin(KVM_INTEL):
            return ()
        raise KernelNotFound("the kernel has no kvm-intel module, and it is not built in")
    infos: dict[str, ModuleInfo] = {}
    missing = {KVM_INTEL}
    while missing:
        if unknown := frozenset(missing - have.keys()):
            have.update(fetch(unknown))
        for name in missing:
            if name not in have:
                raise KernelNotFound(
                    f"the kernel's module {name}, which kvm-intel needs, is not there"
                )
            infos[name] = read_info(have[name])
        missing = {need for info in infos.values() for need in info.depends} - infos.keys()
    return tuple(have[name] for name in _in_load_order((KVM_INTEL,), infos))


def gather_for_disk(fetch: Callable[[frozenset[str]], Mapping[str, Path]]) -> tuple[Path, ...]:
    """Return what a kernel has as modules of what mounting a disk takes, in load order.

    The rest may be built in or missing: packages need not tell, and the guest will.

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
    """Compare what the modules were built for with the kernel's own release.

    :raises UsageError: they belong to different kernels
    """
    for module in modules:
        built_for = read_info(module).release
        if built_for != release:
            raise UsageError(
                f"{module.name} was built for kernel {built_for!r}, but {vmlinuz} is {release!r}: "
                "take both from one build (the kernel would refuse the module)"
            )


def drop_debug_sections(module: Path) -> None:
    """Remove DWARF from a developer's module (often over 50 MB) if ``strip`` is here."""
    sections = _sections(module.read_bytes())
    if any(name.startswith(b".debug_") for name, _ in sections) and shutil.which("strip"):
        subprocess.run(["strip", "--strip-debug", module], check=False, capture_output=True)


# "softdep=pre: A B post: C".  An algorithm (crypto-crc32c) is an alias, by which no file is named;
# its plain implementation is the module crc32c_generic.
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
            raise UsageError(
                f"modules depend on each other in a circle: {' -> '.join((*path, name))}"
            )
        for need in (*infos[name].wants, *infos[name].depends):
            if need in infos:
                visit(need, (*path, name))
        order[name] = None

    for root in roots:
        visit(root, ())
    return list(order)


def _sections(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    header = _ELF_HEADER.unpack_from(content)
    if header[0][:6] != b"\x7fELF\x02\x01":
        raise ValueError("no little-endian ELF64 signature")
    table, count, names_at = header[6], header[12], header[13]
    rows = [_SECTION.unpack_from(content, table + index * _SECTION.size) for index in range(count)]
    names = content[rows[names_at][4] : rows[names_at][4] + rows[names_at][5]]
    for row in rows:
        name = names[row[0] :].partition(b"\0")[0]
        yield name, content[row[4] : row[4] + row[5]]
