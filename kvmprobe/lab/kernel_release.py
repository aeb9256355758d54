"""The release and version in a vmlinuz or bzImage.

:see: Linux Documentation/arch/x86/boot.rst, field kernel_version of the setup header
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmprobe.errors import UsageError
from kvmprobe.lab.packages import upstream

if TYPE_CHECKING:
    from pathlib import Path

_MAGIC_AT, _POINTER_AT, _POINTER_BASE = 0x202, 0x20E, 0x200
_SETUP_BYTES = 0x10200  # the offset has 16 bits
_TEXT_BYTES = 512


@dataclass(frozen=True, slots=True)
class Banner:
    """``release`` as in uname -r; ``label`` is the upstream version."""

    release: str
    label: str


def is_kernel(path: Path) -> bool:
    """Return True if the file has the signature of the x86 boot protocol."""
    with path.open("rb") as file:
        return file.read(_MAGIC_AT + 4)[_MAGIC_AT:] == b"HdrS"


def read_banner(vmlinuz: Path) -> Banner:
    """Read the version text of a bzImage.

    :raises UsageError: not an x86 kernel image, or it has no version text
    """
    with vmlinuz.open("rb") as file:
        setup = file.read(_SETUP_BYTES + _TEXT_BYTES)
    if setup[:4] == b"\x7fELF":
        raise UsageError(f"{vmlinuz}: an ELF file (vmlinux); give arch/x86/boot/bzImage instead")
    if setup[_MAGIC_AT : _MAGIC_AT + 4] != b"HdrS":
        raise UsageError(f"{vmlinuz}: not an x86 kernel image (no HdrS signature at 0x202)")
    at = int.from_bytes(setup[_POINTER_AT : _POINTER_AT + 2], "little") + _POINTER_BASE
    text = setup[at : at + _TEXT_BYTES].partition(b"\0")[0].decode("utf-8", "replace")
    if at == _POINTER_BASE or not text.strip():
        raise UsageError(f"{vmlinuz}: no version text (kernel_version in the setup header)")
    release = text.split()[0]
    return Banner(release, _label(release, text))


def _label(release: str, text: str) -> str:
    # Debian's release may be 6.1.0-56-cloud-amd64 for version 6.1.192-2.
    if packaged := re.search(r" (?:Debian|Ubuntu) (\d[\w.+~-]*)", text):
        return upstream(packaged[1])
    plain = re.match(r"\d+(?:\.\d+)*(?:-rc\d+)?", release)
    return plain[0] if plain else release
