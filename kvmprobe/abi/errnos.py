"""The meaning of each errno of each call.  Pure.

The source is the kernel, for x86.  Ops, the bindings' errors and their docstrings take the texts
from here; a contract test compares the docstrings.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

# For every call; not repeated in docstrings.
COMMON: Mapping[int, str] = {
    errno.EBADF: "the descriptor is closed",
    errno.EFAULT: "memory that the argument refers to cannot be accessed",
    errno.EIO: "the VM belongs to another process, or KVM has marked it as dead",
    errno.ENOMEM: "the kernel has no memory left",
    errno.EMFILE: "the process has no descriptor left",
    errno.ENOTTY: "this kernel has no such call",
}

_NO_ROOM = "more entries than there is room for"

_SET_CPUID = {
    errno.E2BIG: "more than 256 entries",
    errno.EINVAL: "differs after the guest has run, or a bad address width",
    errno.EPERM: "XTILE_DATA without guest permission",
}

# Of calls as ops make them: with no buffer, one that is too small or one with padding, which the
# bindings never pass; and of what is no ioctl.  Not in docstrings.
RAW: Mapping[str, Mapping[int, str]] = {
    "KVM_GET_EMULATED_CPUID": {errno.EINVAL: "the padding of an entry is not zero"},
    "KVM_GET_MSR_INDEX_LIST": {errno.E2BIG: _NO_ROOM},
    "KVM_GET_REG_LIST": {errno.E2BIG: _NO_ROOM},
    "KVM_SET_CPUID": _SET_CPUID,
    "KVM_SET_*": {errno.EINVAL: "the guest has another CPUID than the source of the values"},
    "ARCH_": {errno.EINVAL: "no such option"},
    "sigaltstack": {
        errno.ENOMEM: "smaller than a signal frame with the components that are permitted"
    },
}

_ILLEGAL_SREGS = "a control register, EFER, APIC base or segment that is not allowed"
_NO_REGISTER = "no such register, or the kernel is older than 6.18"

ERRNOS: Mapping[str, Mapping[int, str]] = {
    "KVM_CREATE_VM": {
        errno.EINVAL: "no such type of VM",
        errno.EBUSY: "virtualization is taken by another hypervisor, or disabled",
        errno.EMFILE: COMMON[errno.EMFILE],
    },
    "KVM_GET_SUPPORTED_CPUID": {errno.E2BIG: _NO_ROOM},
    "KVM_GET_EMULATED_CPUID": {errno.E2BIG: _NO_ROOM},
    "KVM_GET_MSRS": {errno.E2BIG: "256 entries or more"},
    "KVM_SET_MSRS": {errno.E2BIG: "256 entries or more"},
    "KVM_HAS_DEVICE_ATTR": {
        errno.ENXIO: "no such attribute",
        errno.EINVAL: "the kernel is too old",
    },
    "KVM_GET_DEVICE_ATTR": {
        errno.ENXIO: "no such attribute",
        errno.EINVAL: "the kernel is too old",
    },
    "KVM_SET_DEVICE_ATTR": {
        errno.ENXIO: "no such attribute",
        errno.EINVAL: "the kernel is too old, or does not take the value",
    },
    "KVM_CREATE_VCPU": {
        errno.EEXIST: "the id is taken",
        errno.EINVAL: "the id is out of range, or the VM is full",
        errno.EMFILE: COMMON[errno.EMFILE],
    },
    "KVM_SET_USER_MEMORY_REGION": {
        errno.EINVAL: "not page-aligned, no such slot or flag, or another size than the slot has",
        errno.EEXIST: "overlaps another slot",
    },
    "KVM_GET_DIRTY_LOG": {
        errno.ENOENT: "the slot is empty, or not logged",
        errno.EINVAL: "no such slot",
    },
    "KVM_SET_TSS_ADDR": {errno.EINVAL: "less than three pages below 4 GiB"},
    "KVM_SET_IDENTITY_MAP_ADDR": {errno.EINVAL: "the VM has a vCPU"},
    "KVM_CREATE_IRQCHIP": {
        errno.EEXIST: "the VM has an interrupt controller",
        errno.EINVAL: "the VM has a vCPU",
    },
    "KVM_IRQ_LINE": {errno.ENXIO: "the VM has no interrupt controller in the kernel"},
    "KVM_IRQFD": {
        errno.EINVAL: "no such GSI, not an eventfd, or no interrupt controller in the kernel",
        errno.EBUSY: "the eventfd is attached already",
    },
    "KVM_IOEVENTFD": {
        errno.EINVAL: "not an eventfd, or another length than 0, 1, 2, 4 or 8",
        errno.EEXIST: "the address has an ioeventfd",
        errno.ENOENT: "no ioeventfd at this address to detach",
    },
    "KVM_GET_CLOCK": {},
    "KVM_SET_CLOCK": {errno.EINVAL: "an unknown flag"},
    "KVM_ENABLE_CAP": {
        errno.EINVAL: "not a capability that can be enabled here, or not with these arguments",
        errno.EEXIST: "the VM has what it would create",
    },
    "KVM_RUN": {
        errno.EINTR: "immediate exit, or a signal came",
        errno.EAGAIN: "the vCPU waits to be started by another one",
        errno.EFAULT: "memory of a slot cannot be accessed",
        errno.EINVAL: "the run area asks for what this kernel does not know",
    },
    "KVM_SET_SREGS": {errno.EINVAL: _ILLEGAL_SREGS},
    "KVM_SET_SREGS2": {errno.EINVAL: f"an unknown flag, {_ILLEGAL_SREGS}"},
    "KVM_SET_DEBUGREGS": {errno.EINVAL: "an unknown flag, or DR6 or DR7 beyond 32 bits"},
    "KVM_GET_ONE_REG": {errno.EINVAL: _NO_REGISTER},
    "KVM_SET_ONE_REG": {errno.EINVAL: f"{_NO_REGISTER}, or an illegal value"},
    "KVM_GET_REG_LIST": {errno.EINVAL: "the kernel is older than 6.18"},
    "KVM_SET_CPUID2": _SET_CPUID,
    "KVM_GET_CPUID2": {errno.E2BIG: _NO_ROOM},
    "KVM_GET_XSAVE": {errno.EINVAL: "this vCPU's image is larger than 4096 bytes"},
    "KVM_SET_XSAVE": {
        errno.EINVAL: "XSTATE_BV, XCOMP_BV, reserved bytes or MXCSR that are not accepted"
    },
    "KVM_SET_XCRS": {errno.EINVAL: "illegal, or not within the guest's CPUID"},
    "KVM_SET_MP_STATE": {
        errno.EINVAL: "no such state, or not without an interrupt controller in the kernel"
    },
    "KVM_GET_LAPIC": {errno.EINVAL: "the VM has no interrupt controller in the kernel"},
    "KVM_SET_LAPIC": {
        errno.EINVAL: "the VM has no interrupt controller in the kernel, or another APIC id"
    },
    "KVM_SET_VCPU_EVENTS": {
        errno.EINVAL: "an unknown flag, no such exception, or injected and pending at once"
    },
    "KVM_INTERRUPT": {
        errno.EINVAL: "a vector beyond 255",
        errno.ENXIO: "the VM has an interrupt controller in the kernel",
        errno.EEXIST: "an interrupt is pending",
    },
    "KVM_SET_GUEST_DEBUG": {errno.EBUSY: "an exception is pending"},
    "KVM_SET_TSC_KHZ": {errno.EINVAL: "more than the hardware can be scaled to"},
    "KVM_GET_NESTED_STATE": {
        errno.EINVAL: "KVM has no nested virtualization",
        errno.E2BIG: "larger than the size of KVM_CAP_NESTED_STATE",
    },
    "KVM_SET_NESTED_STATE": {
        errno.EINVAL: "not legal, or not with this guest's CPUID, or no nested virtualization"
    },
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
    tables = (RAW.get(call, {}), ERRNOS.get(call, {}), COMMON)
    return next((table[number] for table in tables if number in table), "")
