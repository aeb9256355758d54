"""Ioctls of /dev/kvm, and device attributes, which a vCPU has as well: linux/kvm.h, asm/kvm.h."""

from __future__ import annotations

import errno

from kvmprobe.abi.ioctls.spec import COMMON_ERRNOS, NO_ROOM, Descriptor, Direction, IoctlSpec
from kvmprobe.abi.layout import Layout
from kvmprobe.abi.tables import CPUID2, MSR_LIST

_KVM = Descriptor.KVM
_WRITE, _BOTH = Direction.WRITE, Direction.BOTH

KVM_DEVICE_ATTR = Layout(
    "struct kvm_device_attr", {"flags": "I", "group": "I", "attr": "Q", "addr": "Q"}
)

GET_API_VERSION = IoctlSpec("KVM_GET_API_VERSION", 0x00, _KVM)
CREATE_VM = IoctlSpec(
    "KVM_CREATE_VM",
    0x01,
    _KVM,
    errnos={
        errno.EINVAL: "no such type of VM",
        errno.EBUSY: "another hypervisor uses virtualization, or it is disabled",
        errno.EMFILE: COMMON_ERRNOS[errno.EMFILE],
    },
)
GET_MSR_INDEX_LIST = IoctlSpec("KVM_GET_MSR_INDEX_LIST", 0x02, _KVM, _BOTH, MSR_LIST.head)
CHECK_EXTENSION = IoctlSpec("KVM_CHECK_EXTENSION", 0x03, _KVM)
GET_VCPU_MMAP_SIZE = IoctlSpec("KVM_GET_VCPU_MMAP_SIZE", 0x04, _KVM)
GET_SUPPORTED_CPUID = IoctlSpec("KVM_GET_SUPPORTED_CPUID", 0x05, _KVM, _BOTH, CPUID2.head, NO_ROOM)
GET_EMULATED_CPUID = IoctlSpec("KVM_GET_EMULATED_CPUID", 0x09, _KVM, _BOTH, CPUID2.head, NO_ROOM)
GET_MSR_FEATURE_INDEX_LIST = IoctlSpec(
    "KVM_GET_MSR_FEATURE_INDEX_LIST", 0x0A, _KVM, _BOTH, MSR_LIST.head
)
SET_DEVICE_ATTR = IoctlSpec(
    "KVM_SET_DEVICE_ATTR",
    0xE1,
    _KVM,
    _WRITE,
    KVM_DEVICE_ATTR,
    {
        errno.ENXIO: "no such attribute",
        errno.EINVAL: "the kernel is too old, or refuses the value",
    },
)
GET_DEVICE_ATTR = IoctlSpec(
    "KVM_GET_DEVICE_ATTR",
    0xE2,
    _KVM,
    _WRITE,
    KVM_DEVICE_ATTR,
    {errno.ENXIO: "no such attribute", errno.EINVAL: "the kernel is too old"},
)
HAS_DEVICE_ATTR = IoctlSpec(
    "KVM_HAS_DEVICE_ATTR",
    0xE3,
    _KVM,
    _WRITE,
    KVM_DEVICE_ATTR,
    {errno.ENXIO: "no such attribute", errno.EINVAL: "the kernel is too old"},
)
