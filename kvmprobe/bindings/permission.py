"""Permission for dynamically enabled XSTATE components: the XCOMP requests of arch_prctl(2).

A permission belongs to the process, is inherited by fork() and cannot be dropped.  To keep a
process without it, request it in a child.
"""

from __future__ import annotations

from kvmprobe.abi.numbers import ArchPrctlCode
from kvmprobe.bindings.gateway import arch_prctl, checked, get_xcomp


def supported_features() -> int:
    """Return the bitmap of user components that the kernel has enabled (ARCH_GET_XCOMP_SUPP).

    :raises KernelCallError: EINVAL - the kernel is older than 5.16
    :see: Documentation/arch/x86/xstate.rst; arch/x86/kernel/fpu/xstate.c: fpu_xstate_prctl
    """
    return get_xcomp(ArchPrctlCode.GET_XCOMP_SUPP)


def host_permission() -> int:
    """Return the bitmap of components that this process may use itself (ARCH_GET_XCOMP_PERM).

    :raises KernelCallError: EINVAL - the kernel is older than 5.16
    :see: Documentation/arch/x86/xstate.rst; arch/x86/kernel/fpu/xstate.c: fpu_xstate_prctl
    """
    return get_xcomp(ArchPrctlCode.GET_XCOMP_PERM)


def guest_permission() -> int:
    """Return the bitmap of components that this process may give guests.

    It is ARCH_GET_XCOMP_GUEST_PERM; the first vCPU freezes it.

    :raises KernelCallError: EINVAL - the kernel is older than 5.17
    :see: Documentation/arch/x86/xstate.rst; arch/x86/kernel/fpu/xstate.c: fpu_xstate_prctl
    """
    return get_xcomp(ArchPrctlCode.GET_XCOMP_GUEST_PERM)


def request_host_permission(feature_nr: int) -> None:
    """Request permission to use a dynamic component in this process (ARCH_REQ_XCOMP_PERM).

    :param feature_nr: number of the component, 18 for AMX tile data; not a bitmap
    :raises KernelCallError: EINVAL - no such feature, or the kernel is older than 5.16;
        EOPNOTSUPP - not a dynamic feature, or not on this host;
        ENOSPC - a thread's alternate signal stack is too small
    :see: Documentation/arch/x86/xstate.rst; arch/x86/kernel/fpu/xstate.c: __xstate_request_perm
    """
    _request(ArchPrctlCode.REQ_XCOMP_PERM, feature_nr)


def request_guest_permission(feature_nr: int) -> None:
    """Request permission to give guests a dynamic component (ARCH_REQ_XCOMP_GUEST_PERM).

    :param feature_nr: number of the component, 18 for AMX tile data; not a bitmap
    :raises KernelCallError: EINVAL - no such feature, or the kernel is older than 5.17;
        EOPNOTSUPP - not a dynamic feature, or not on this host;
        EBUSY - this process has created a vCPU
    :order: before the process's first KVM_CREATE_VCPU, and before KVM_GET_SUPPORTED_CPUID, which
        shows XTILE_DATA only with the permission
    :see: Documentation/arch/x86/xstate.rst; arch/x86/kernel/fpu/xstate.c: __xstate_request_perm

    >>> request_guest_permission(0)
    Traceback (most recent call last):
    kvmprobe.errors.KernelCallError: ARCH_REQ_XCOMP_GUEST_PERM on arch_prctl: EOPNOTSUPP (95): \
not a dynamic feature, or not on this host
    """
    _request(ArchPrctlCode.REQ_XCOMP_GUEST_PERM, feature_nr)


def _request(code: ArchPrctlCode, feature_nr: int) -> None:
    checked(arch_prctl(code, feature_nr), f"ARCH_{code.name}", "arch_prctl")
