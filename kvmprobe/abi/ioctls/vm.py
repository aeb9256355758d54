"""Ioctls of a VM: its vCPUs, memory, devices and clock: linux/kvm.h."""

from __future__ import annotations

import errno
from enum import IntFlag

from kvmprobe.abi.ioctls.spec import COMMON_ERRNOS, Descriptor, Direction, IoctlSpec
from kvmprobe.abi.layout import Layout

_VM = Descriptor.VM
_WRITE, _READ = Direction.WRITE, Direction.READ

CREATE_VCPU = IoctlSpec(
    "KVM_CREATE_VCPU",
    0x41,
    _VM,
    errnos={
        errno.EEXIST: "the id is taken",
        errno.EINVAL: "the id is out of range, or the VM is full",
        errno.EMFILE: COMMON_ERRNOS[errno.EMFILE],
    },
)


class MemoryFlag(IntFlag):
    """``kvm_userspace_memory_region.flags`` (linux/kvm.h)."""

    NONE = 0
    LOG_DIRTY_PAGES = 1
    READONLY = 2


KVM_USERSPACE_MEMORY_REGION = Layout(
    "struct kvm_userspace_memory_region",
    {
        "slot": "I",
        "flags": "I",
        "guest_phys_addr": "Q",
        "memory_size": "Q",
        "userspace_addr": "Q",
    },
)
SET_USER_MEMORY_REGION = IoctlSpec(
    "KVM_SET_USER_MEMORY_REGION",
    0x46,
    _VM,
    _WRITE,
    KVM_USERSPACE_MEMORY_REGION,
    {
        errno.EINVAL: "not page-aligned, no such slot or flag, or a change of the slot's size",
        errno.EEXIST: "overlaps another slot",
    },
)

KVM_DIRTY_LOG = Layout("struct kvm_dirty_log", {"slot": "I", "padding1": "4x", "dirty_bitmap": "Q"})
GET_DIRTY_LOG = IoctlSpec(
    "KVM_GET_DIRTY_LOG",
    0x42,
    _VM,
    _WRITE,
    KVM_DIRTY_LOG,
    {errno.ENOENT: "the slot is empty, or not logged", errno.EINVAL: "no such slot"},
)

SET_TSS_ADDR = IoctlSpec(
    "KVM_SET_TSS_ADDR", 0x47, _VM, errnos={errno.EINVAL: "less than three pages below 4 GiB"}
)
SET_IDENTITY_MAP_ADDR = IoctlSpec(
    "KVM_SET_IDENTITY_MAP_ADDR",
    0x48,
    _VM,
    _WRITE,
    Layout("", {"address": "Q"}),
    {errno.EINVAL: "the VM has a vCPU"},
)
CREATE_IRQCHIP = IoctlSpec(
    "KVM_CREATE_IRQCHIP",
    0x60,
    _VM,
    errnos={
        errno.EEXIST: "the VM has an interrupt controller",
        errno.EINVAL: "the VM has a vCPU",
    },
)

KVM_IRQ_LEVEL = Layout("struct kvm_irq_level", {"irq": "I", "level": "I"})
IRQ_LINE = IoctlSpec(
    "KVM_IRQ_LINE",
    0x61,
    _VM,
    _WRITE,
    KVM_IRQ_LEVEL,
    {errno.ENXIO: "the VM has no interrupt controller in the kernel"},
)

KVM_IRQFD = Layout(
    "struct kvm_irqfd", {"fd": "I", "gsi": "I", "flags": "I", "resamplefd": "I", "pad": "16x"}
)
IRQFD = IoctlSpec(
    "KVM_IRQFD",
    0x76,
    _VM,
    _WRITE,
    KVM_IRQFD,
    {
        errno.EINVAL: "no such GSI, not an eventfd, or no interrupt controller in the kernel",
        errno.EBUSY: "the eventfd is already attached",
    },
)

KVM_IOEVENTFD = Layout(
    "struct kvm_ioeventfd",
    {"datamatch": "Q", "addr": "Q", "len": "I", "fd": "I", "flags": "I", "pad": "36x"},
)
IOEVENTFD = IoctlSpec(
    "KVM_IOEVENTFD",
    0x79,
    _VM,
    _WRITE,
    KVM_IOEVENTFD,
    {
        errno.EINVAL: "not an eventfd, or a length other than 0, 1, 2, 4 or 8",
        errno.EEXIST: "the address has an ioeventfd",
        errno.ENOENT: "no ioeventfd at this address to detach",
    },
)


class ClockFlag(IntFlag):
    """``kvm_clock_data.flags`` (linux/kvm.h)."""

    TSC_STABLE = 2
    REALTIME = 4
    HOST_TSC = 8


KVM_CLOCK_DATA = Layout(
    "struct kvm_clock_data",
    {"clock": "Q", "flags": "I", "pad0": "4x", "realtime": "Q", "host_tsc": "Q", "pad": "16x"},
)
SET_CLOCK = IoctlSpec(
    "KVM_SET_CLOCK", 0x7B, _VM, _WRITE, KVM_CLOCK_DATA, {errno.EINVAL: "an unknown flag"}
)
GET_CLOCK = IoctlSpec("KVM_GET_CLOCK", 0x7C, _VM, _READ, KVM_CLOCK_DATA)

KVM_ENABLE_CAP = Layout(
    "struct kvm_enable_cap", {"cap": "I", "flags": "I", "args": "4Q", "pad": "64x"}
)
# Of a vCPU as well.
ENABLE_CAP = IoctlSpec(
    "KVM_ENABLE_CAP",
    0xA3,
    _VM,
    _WRITE,
    KVM_ENABLE_CAP,
    {
        errno.EINVAL: "not a capability that can be enabled here, or not with these arguments",
        errno.EEXIST: "the VM already has what it would create",
    },
)
