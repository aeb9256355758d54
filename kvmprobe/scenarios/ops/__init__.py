"""The ops, one file a topic; importing this package registers them all."""

from kvmprobe.scenarios.ops import cpuid, lifecycle, msrs, permission, run, xcrs, xsave
from kvmprobe.scenarios.ops._base import Op, decode, encode, registry

__all__ = [
    "Op",
    "cpuid",
    "decode",
    "encode",
    "lifecycle",
    "msrs",
    "permission",
    "registry",
    "run",
    "xcrs",
    "xsave",
]
