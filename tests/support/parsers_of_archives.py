"""Parsers of archives: their lists, their packages, and the kernels and modules in them."""

from __future__ import annotations

import gzip
import io
import lzma
import struct
import tarfile
import zlib
from typing import TYPE_CHECKING

import zstandard

from kvmprobe.errors import KernelNotFound, UsageError
from kvmprobe.lab import debfile, kernel_image, kernel_pieces, kernel_release, modules, packages
from kvmprobe.lab.apt_state import failure_of
from kvmprobe.lab.kernel_catalog import candidates, images, select, without_modules
from kvmprobe.lab.sources import sources_from_uris
from tests.support.parser import Parser, in_file

if TYPE_CHECKING:
    from pathlib import Path

INDEX = b"""\
Package: linux-image-7.3.4+deb13-cloud-amd64
Version: 7.3.4-1~bpo13+1
Depends: linux-binary-7.3.4 (= 7.3.4-1), linux-modules-7.3.4+deb13-cloud-amd64, kmod
Filename: pool/main/l/linux/linux-image.deb
Size: 1234
SHA256: 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef

"""
URIS = b"""\
'http://archive.example/debian/dists/trixie/InRelease' archive.example_dists_trixie_InRelease 0
'http://archive.example/debian/dists/trixie/main/binary-amd64/Packages.xz' \
archive.example_dists_trixie_main_binary-amd64_Packages 0
"""
_SAID = b"""\
Err:2 http://archive.example/debian trixie InRelease
  Could not connect
W: Failed to fetch http://archive.example/debian/dists/trixie/InRelease  Could not connect
E: The repository 'http://archive.example/debian trixie InRelease' is not signed.
"""
_SIGNED = b"""\
-----BEGIN PGP SIGNED MESSAGE-----
Hash: SHA256

Origin: Debian
Suite: stable
"""
_SOURCES = b"""\
Types: deb
URIs: http://archive.example/debian
Suites: trixie
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
"""


def elf_file(sections: dict[str, bytes]) -> bytes:
    """Return a relocatable ELF file with these sections, and one segment that is loaded."""
    names = b"\0" + b"".join(name.encode() + b"\0" for name in (*sections, ".shstrtab"))
    head, entry, segment = 64, 64, 56
    at = head + segment
    rows, content = [bytes(entry)], b""
    for name, data in (*sections.items(), (".shstrtab", names)):
        kind = 3 if name == ".shstrtab" else 1
        place = names.index(b"\0" + name.encode() + b"\0") + 1
        where = at + len(content)
        rows.append(struct.pack("<IIQQQQIIQQ", place, kind, 0, 0, where, len(data), 0, 0, 1, 0))
        content += data
    header = b"\x7fELF\2\1\1" + bytes(9)
    table = at + len(content)
    numbers = (1, 62, 1, 0x1000000, head, table, 0, head, segment, 1, entry, len(rows))
    header += struct.pack("<HHIQQQIHHHHHH", *numbers, len(rows) - 1)
    loaded = struct.pack("<IIQQQQQQ", 1, 5, at, 0, 0x1000000, len(content), len(content), 0x1000)
    return header + loaded + content + b"".join(rows)


_VERMAGIC = b"vermagic=7.3.4+deb13-cloud-amd64 SMP\0"
MODULE = elf_file(
    {".modinfo": b"name=kvm_intel\0depends=kvm\0softdep=pre: x\0" + _VERMAGIC},
)
_KVM = elf_file({".modinfo": b"name=kvm\0depends=\0" + _VERMAGIC})


def vmlinuz(payload: bytes) -> bytes:
    """Return a bzImage with this payload."""
    file = bytearray(0x1000 + len(payload))
    file[0x1F1], file[0x201], file[0x202:0x206] = 4, 0x6A, b"HdrS"
    struct.pack_into("<HxxxxxxH", file, 0x206, 0x20F, 0x600 - 0x200)
    struct.pack_into("<H", file, 0x20E, 0x600 - 0x200)
    text = b"7.3.4+deb13-cloud-amd64 (x) #1 SMP Debian 7.3.4-1 (2026-11-01)\0"
    file[0x600 : 0x600 + len(text)] = text
    struct.pack_into("<H", file, 0x236, 1)
    struct.pack_into("<II", file, 0x248, 0x1000 - 5 * 512, len(payload))
    struct.pack_into("<QI", file, 0x258, 0x1000000, 0x100000)
    file[0x1000:] = payload
    return bytes(file)


def _kernels() -> list[bytes]:
    kernel = elf_file({".text": bytes(range(256))})
    size = len(kernel).to_bytes(4, "little")
    packed = zlib.compressobj(wbits=31)
    return [
        vmlinuz(b""),
        vmlinuz(zstandard.compress(kernel) + size),
        vmlinuz(lzma.compress(kernel) + size),
        vmlinuz(packed.compress(kernel) + packed.flush() + size),
    ]


def _read_kernel(path: Path) -> object:
    kernel_release.is_kernel(path)
    kernel_release.read_banner(path)
    return len(kernel_image.read(path).content)


def deb_of(compression: str, files: dict[str, bytes]) -> bytes:
    """Return a .deb with these files."""
    content = io.BytesIO()
    mode = "w:" if compression == "zst" else f"w:{compression}"
    with tarfile.open(fileobj=content, mode=mode) as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(f"./{name}")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    data = content.getvalue()
    if compression == "zst":
        data = zstandard.compress(data)
    name = b"data.tar." + compression.encode() if compression else b"data.tar"
    header = b"%-16s%-12d%-6d%-6d%-8s%-10d`\n" % (name, 0, 0, 0, b"100644", len(data))
    return b"!<arch>\n" + header + data


def _debs() -> list[bytes]:
    folder = "lib/modules/7.3.4+deb13-cloud-amd64/"
    files = {
        "boot/vmlinuz-7.3.4+deb13-cloud-amd64": vmlinuz(b"")[:0x800],
        f"{folder}kernel/arch/x86/kvm/kvm.ko.xz": lzma.compress(_KVM),
        f"{folder}kernel/arch/x86/kvm/kvm-intel.ko.zst": zstandard.compress(MODULE),
        f"{folder}modules.builtin": b"kernel/arch/x86/x.ko\n",
    }
    return [deb_of(compression, files) for compression in ("", "gz", "xz", "zst")]


def _read_deb(content: bytes, folder: Path) -> object:
    deb = folder / "a.deb"
    deb.write_bytes(content)
    debfile.is_deb(deb)
    work = folder / "work"
    work.mkdir()
    return kernel_pieces.from_debs((deb,), work)


def _read_index(content: bytes, _folder: Path) -> object:
    found = [*packages.scan(content, ("linux-",), "trixie", "https://archive.example")]
    offered = candidates(found)
    return (
        sorted(found, key=lambda package: packages.version_key(package.version)),
        list(images(found)),
        without_modules(found),
        select(offered, None) if offered else None,
        [package.uri for package in found],
    )


def _modules() -> list[bytes]:
    return [MODULE, lzma.compress(MODULE), gzip.compress(MODULE), zstandard.compress(MODULE)]


def _read_module(content: bytes, folder: Path) -> object:
    ending = {b"\xfd7zXZ": ".xz", b"\x1f\x8b": ".gz", b"\x28\xb5\x2f": ".zst"}
    suffix = next((end for magic, end in ending.items() if content.startswith(magic)), "")
    file = folder / "kvm-intel.ko"
    file.write_bytes(modules.decompressed(content, f"kvm-intel.ko{suffix}"))
    return modules.read_info(file)


def _read_apt(content: bytes, folder: Path) -> object:
    """Read what apt prints, the beginning of a release file, and a file of sources."""
    said, _, rest = content.partition(b"\0")
    release, _, sources = rest.partition(b"\0")
    lists, etc = folder / "lists", folder / "etc"
    (etc / "sources.list.d").mkdir(parents=True)
    lists.mkdir()
    (lists / "archive.example_dists_trixie_InRelease").write_bytes(release)
    for name in ("sources.list", "sources.list.d/a.sources"):
        (etc / name).write_bytes(sources)
    text = said.decode("utf-8", "replace")
    return failure_of("trixie", text), sources_from_uris(text, lists, etc)


def _apt() -> list[bytes]:
    return [b"\0".join((said, _SIGNED, _SOURCES)) for said in (URIS, _SAID)]


PARSERS = (
    Parser("package", _debs, _read_deb, (UsageError, KernelNotFound)),
    Parser("package index", lambda: [INDEX * 3], _read_index, ()),
    Parser("kernel image", _kernels, in_file(_read_kernel, "vmlinuz"), (UsageError,)),
    Parser("kernel module", _modules, _read_module, (UsageError,)),
    Parser("apt and release files", _apt, _read_apt, ()),
)
