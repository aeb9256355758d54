"""The meaning of each errno of each call, for x86.  Pure.

An ioctl's own errnos are declared with it (:mod:`abi.ioctls`).  Ops and the bindings' errors take
the texts from here; a contract test compares the bindings' docstrings.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from kvmprobe.abi import ioctls
from kvmprobe.abi.ioctls import COMMON_ERRNOS, NO_ROOM

if TYPE_CHECKING:
    from collections.abc import Mapping

# Of calls that ops make and the bindings do not: no buffer, one that is too small, padding that is
# not zero; and of calls that are not ioctls.  Not in docstrings.
RAW: Mapping[str, Mapping[int, str]] = {
    "KVM_GET_EMULATED_CPUID": {errno.EINVAL: "the padding of an entry is not zero"},
    "KVM_GET_MSR_INDEX_LIST": NO_ROOM,
    "KVM_GET_REG_LIST": NO_ROOM,
    "KVM_SET_*": {errno.EINVAL: "the guest's CPUID differs from that of the source of the values"},
    "ARCH_": {errno.EINVAL: "no such option"},
    "sigaltstack": {errno.ENOMEM: "smaller than a signal frame with the permitted components"},
}

ERRNOS: Mapping[str, Mapping[int, str]] = {
    **{spec.name: spec.errnos for spec in ioctls.ALL},
    "ARCH_GET_XCOMP_SUPP": {errno.EINVAL: "the kernel is older than 5.16"},
    "ARCH_GET_XCOMP_PERM": {errno.EINVAL: "the kernel is older than 5.16"},
    "ARCH_GET_XCOMP_GUEST_PERM": {errno.EINVAL: "the kernel is older than 5.17"},
    "ARCH_REQ_XCOMP_PERM": {
        errno.EINVAL: "no such feature, or the kernel is older than 5.16",
        errno.EOPNOTSUPP: "not a dynamic feature, or not on this host",
        errno.ENOSPC: "a thread's alternate signal stack is too small",
    },
    "ARCH_REQ_XCOMP_GUEST_PERM": {
        errno.EINVAL: "no such feature, or the kernel is older than 5.17",
        errno.EOPNOTSUPP: "not a dynamic feature, or not on this host",
        errno.EBUSY: "this process has created a vCPU",
    },
}


def meaning(call: str, number: int) -> str:
    """Return the meaning of an errno of a call; empty if unknown."""
    tables = (RAW.get(call, {}), ERRNOS.get(call, {}), COMMON_ERRNOS)
    return next((table[number] for table in tables if number in table), "")
