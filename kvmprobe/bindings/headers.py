"""The kernel headers that the compiled module was built with."""

from __future__ import annotations

from kvmprobe.bindings._ffi import lib


def version() -> str:
    """Return their version, such as ``6.12.43``.

    :see: linux/version.h: KERNEL_VERSION, LINUX_VERSION_CODE
    """
    code = int(lib.kvmprobe_header_version())
    return f"{code >> 16}.{code >> 8 & 0xFF}.{code & 0xFF}"
