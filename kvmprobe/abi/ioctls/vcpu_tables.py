"""Ioctls of a vCPU that move a table or an image: CPUID, MSRs, one register, XCRs, XSAVE, FPU.

Structures are those of asm/kvm.h and linux/kvm.h; the tables are in :mod:`abi.tables`.
"""

from __future__ import annotations

import errno

from kvmprobe.abi.ioctls.spec import NO_ROOM, Descriptor, Direction, IoctlSpec
from kvmprobe.abi.layout import Layout
from kvmprobe.abi.tables import CPUID, CPUID2, MOST_XCRS, MSRS, REG_LIST, XCRS

_VCPU = Descriptor.VCPU
_WRITE, _READ, _BOTH = Direction.WRITE, Direction.READ, Direction.BOTH
_TOO_MANY_MSRS = {errno.E2BIG: "256 entries or more"}

GET_MSRS = IoctlSpec("KVM_GET_MSRS", 0x88, _VCPU, _BOTH, MSRS.head, _TOO_MANY_MSRS)
SET_MSRS = IoctlSpec("KVM_SET_MSRS", 0x89, _VCPU, _WRITE, MSRS.head, _TOO_MANY_MSRS)

_SET_CPUID = {
    errno.E2BIG: "more than 256 entries",
    errno.EINVAL: "differs after the guest has run, or a bad address width",
    errno.EPERM: "XTILE_DATA without guest permission",
}
SET_CPUID = IoctlSpec("KVM_SET_CPUID", 0x8A, _VCPU, _WRITE, CPUID.head, _SET_CPUID)
SET_CPUID2 = IoctlSpec("KVM_SET_CPUID2", 0x90, _VCPU, _WRITE, CPUID2.head, _SET_CPUID)
GET_CPUID2 = IoctlSpec(
    "KVM_GET_CPUID2",
    0x91,
    _VCPU,
    _BOTH,
    CPUID2.head,
    NO_ROOM,
)

KVM_ONE_REG = Layout("struct kvm_one_reg", {"id": "Q", "addr": "Q"})
_NO_REGISTER = "no such register, or the kernel is older than 6.18"
GET_ONE_REG = IoctlSpec(
    "KVM_GET_ONE_REG", 0xAB, _VCPU, _WRITE, KVM_ONE_REG, {errno.EINVAL: _NO_REGISTER}
)
SET_ONE_REG = IoctlSpec(
    "KVM_SET_ONE_REG",
    0xAC,
    _VCPU,
    _WRITE,
    KVM_ONE_REG,
    {errno.EINVAL: f"{_NO_REGISTER}, or an illegal value"},
)
GET_REG_LIST = IoctlSpec(
    "KVM_GET_REG_LIST",
    0xB0,
    _VCPU,
    _BOTH,
    REG_LIST.head,
    {errno.EINVAL: "the kernel is older than 6.18"},
)

KVM_XCRS = Layout(
    "struct kvm_xcrs",
    {**XCRS.head.members, "xcrs": f"{MOST_XCRS * XCRS.entry.size}s", "padding": "128x"},
)
GET_XCRS = IoctlSpec("KVM_GET_XCRS", 0xA6, _VCPU, _READ, KVM_XCRS)
SET_XCRS = IoctlSpec(
    "KVM_SET_XCRS",
    0xA7,
    _VCPU,
    _WRITE,
    KVM_XCRS,
    {errno.EINVAL: "illegal, or not within the guest's CPUID"},
)

# KVM_GET_XSAVE2 writes more than its number says.
KVM_XSAVE = Layout("struct kvm_xsave", {"region": "4096s"})
GET_XSAVE = IoctlSpec(
    "KVM_GET_XSAVE",
    0xA4,
    _VCPU,
    _READ,
    KVM_XSAVE,
    {errno.EINVAL: "this vCPU's image is larger than 4096 bytes"},
)
SET_XSAVE = IoctlSpec(
    "KVM_SET_XSAVE",
    0xA5,
    _VCPU,
    _WRITE,
    KVM_XSAVE,
    {errno.EINVAL: "XSTATE_BV, XCOMP_BV, reserved bytes or MXCSR that are not accepted"},
)
GET_XSAVE2 = IoctlSpec("KVM_GET_XSAVE2", 0xCF, _VCPU, _READ, KVM_XSAVE)

KVM_FPU = Layout(
    "struct kvm_fpu",
    {
        "fpr": "16s" * 8,
        "fcw": "H",
        "fsw": "H",
        "ftwx": "B",
        "pad1": "x",
        "last_opcode": "H",
        "last_ip": "Q",
        "last_dp": "Q",
        "xmm": "16s" * 16,
        "mxcsr": "I",
        "pad2": "4x",
    },
)
GET_FPU = IoctlSpec("KVM_GET_FPU", 0x8C, _VCPU, _READ, KVM_FPU)
SET_FPU = IoctlSpec("KVM_SET_FPU", 0x8D, _VCPU, _WRITE, KVM_FPU)
