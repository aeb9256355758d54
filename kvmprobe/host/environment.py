"""The environment record: the host, kernel, processor and tool of a result, as JSON values.

It is gathered where the calls are made, so inside the emulated host as well: what this module
imports is packed into its initramfs.  KVM is not used, and nothing raises: ``absent`` has the
reason for each file that cannot be read.  The record has no serial numbers and no host names, and
is the same after a reboot.
"""

from __future__ import annotations

import struct
import sys
import zlib
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any

from kvmprobe import __version__
from kvmprobe.bindings import cpuid_dump, headers
from kvmprobe.host.files import HostFiles
from kvmprobe.host.kernel_log import TAINTED
from kvmprobe.host.taint import letters, taints

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LOCKDOWN = "/sys/kernel/security/lockdown"
NOTES, CONFIG, CPUINFO = "/sys/kernel/notes", "/proc/config.gz", "/proc/cpuinfo"
VULNERABILITIES = "/sys/devices/system/cpu/vulnerabilities"
CLOCKSOURCE = "/sys/devices/system/clocksource/clocksource0/current_clocksource"
_DMI = "/sys/class/dmi/id"
_DMI_FIELDS = (
    "sys_vendor",
    "product_name",
    "product_version",
    "board_vendor",
    "board_name",
    "board_version",
    "bios_vendor",
    "bios_version",
    "bios_date",
    "bios_release",
)
_NOTE_HEAD = struct.Struct("<III")
_BUILD_ID, _GNU = 3, b"GNU\0"
_GZIP = zlib.MAX_WBITS | 16


def _lean_sha256() -> Callable[[bytes], Any]:
    # hashlib would add OpenSSL to the emulated host's initramfs.  Python's random does the same.
    for name in ("_sha2", "_sha256"):
        with suppress(ImportError):
            return import_module(name).sha256  # type: ignore[no-any-return]
    return import_module("hashlib").sha256  # type: ignore[no-any-return]


# At import, so that packing this module for the emulated host finds the dependency.
_sha256 = _lean_sha256()


def gather(release: str, files: HostFiles | None = None) -> dict[str, Any]:
    """Return the record of this host.

    :param release: of the running kernel, for its configuration in /boot
    :param files: where to read from, this host if None; CPUID is always of this processor
    """
    files = files or HostFiles()
    record = {
        "tool": {
            "version": __version__,
            "python": sys.version.split()[0],
            "headers": headers.version(),
        },
        "kernel": {
            "build_id": _build_id(files),
            "config": _config(files, release),
            "cmdline": files.text("/proc/cmdline"),
            "taint": _taint(files),
            "lockdown": lockdown(files),
            "clocksource": files.text(CLOCKSOURCE),
        },
        "cpu": {
            "microcode": sorted(set(_cpuinfo(files, "microcode"))),
            "bugs": _words(_cpuinfo(files, "bugs")),
            "vulnerabilities": files.texts(VULNERABILITIES),
            "cpuid": [list(leaf) for leaf in cpuid_dump.dump()],
        },
        "machine": {
            "dmi": _dmi(files),
            "hypervisor": {
                "bit": cpuid_dump.hypervisor_bit(),
                "vendor": cpuid_dump.hypervisor_vendor(),
            },
        },
    }
    return {**record, "absent": dict(sorted(files.absent.items()))}


def _build_id(files: HostFiles) -> str | None:
    """Return the kernel's GNU build id in hexadecimal.

    :see: Documentation/ABI/testing/sysfs-kernel-notes; elf(5): NT_GNU_BUILD_ID
    """
    content = files.content(NOTES)
    if content is None:
        return None
    for name, kind, description in _notes(content):
        if name == _GNU and kind == _BUILD_ID:
            return description.hex()
    files.absent[NOTES] = "has no GNU build id"
    return None


def _notes(content: bytes) -> Iterator[tuple[bytes, int, bytes]]:
    offset = 0
    while offset + _NOTE_HEAD.size <= len(content):
        name_size, size, kind = _NOTE_HEAD.unpack_from(content, offset)
        name = offset + _NOTE_HEAD.size
        description = name + -(-name_size // 4) * 4
        yield content[name : name + name_size], kind, content[description : description + size]
        offset = description + -(-size // 4) * 4


def _config(files: HostFiles, release: str) -> dict[str, str] | None:
    """Return the SHA-256 of the kernel configuration's (uncompressed) text."""
    packed = files.content(CONFIG)
    if packed is not None:
        try:
            return _digest(CONFIG, zlib.decompress(packed, _GZIP))
        except zlib.error as error:
            files.absent[CONFIG] = str(error)
    name = f"/boot/config-{release}"
    text = files.content(name)
    return None if text is None else _digest(name, text)


def _digest(source: str, text: bytes) -> dict[str, str]:
    return {"source": source, "sha256": _sha256(text).hexdigest()}


def _taint(files: HostFiles) -> dict[str, Any] | None:
    value = files.number(TAINTED)
    if value is None:
        return None
    meanings = [taint.meaning for taint in taints(value)]
    return {"value": value, "letters": letters(value), "meanings": meanings}


def _dmi(files: HostFiles) -> dict[str, str]:
    there = [name for name in _DMI_FIELDS if files.exists(f"{_DMI}/{name}")]
    if not there:
        files.absent[_DMI] = "the firmware provides no DMI fields"
    return {name: value for name in there if (value := files.text(f"{_DMI}/{name}")) is not None}


def lockdown(files: HostFiles) -> str | None:
    """Return the mode: the word in brackets of ``none [integrity] confidentiality``."""
    text = files.text(LOCKDOWN)
    return None if text is None else text.partition("[")[2].partition("]")[0]


def _cpuinfo(files: HostFiles, field: str) -> list[str]:
    """Return the values of a field, one per CPU."""
    lines = (files.text(CPUINFO) or "").splitlines()
    pairs = (line.partition(":") for line in lines)
    return [value.strip() for name, _, value in pairs if name.strip() == field]


def _words(values: list[str]) -> list[str]:
    return sorted({word for value in values for word in value.split()})
