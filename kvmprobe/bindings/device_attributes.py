"""Device attributes: numbered values of /dev/kvm itself or of a vCPU."""

from __future__ import annotations

import struct

from kvmprobe.abi import ioctls
from kvmprobe.bindings.fd import KvmFd
from kvmprobe.bindings.gateway import Pinned

_ATTRIBUTE = struct.Struct("=IIQQ")


class AttributeCalls(KvmFd):
    """A descriptor with attributes, each of a group and a number within it."""

    def has_device_attr(self, group: int, attribute: int) -> None:
        """Ask for an attribute; an error says that it is not there (KVM_HAS_DEVICE_ATTR).

        :raises KernelCallError: ENXIO - no such attribute; EINVAL - the kernel is too old
        :see: Documentation/virt/kvm/api.rst KVM_HAS_DEVICE_ATTR;
            arch/x86/kvm/x86.c: kvm_x86_dev_has_attr
        """
        self._set(ioctls.HAS_DEVICE_ATTR, _ATTRIBUTE.pack(0, group, attribute, 0))

    def get_device_attr(self, group: int, attribute: int, size: int = 8) -> bytes:
        """Return an attribute's value (KVM_GET_DEVICE_ATTR).

        :param size: bytes of the value; the kernel does not ask, and writes all of them
        :raises KernelCallError: ENXIO - no such attribute; EINVAL - the kernel is too old
        :see: Documentation/virt/kvm/api.rst KVM_GET_DEVICE_ATTR;
            arch/x86/kvm/x86.c: kvm_x86_dev_get_attr
        """
        value = bytearray(size)
        target = Pinned(value)
        self._set(ioctls.GET_DEVICE_ATTR, _ATTRIBUTE.pack(0, group, attribute, target.address))
        return bytes(value)

    def set_device_attr(self, group: int, attribute: int, value: bytes) -> None:
        """Set an attribute (KVM_SET_DEVICE_ATTR).

        :param value: all bytes that the attribute has
        :raises KernelCallError: ENXIO - no such attribute; EINVAL - the kernel is too old, or
            does not take the value
        :see: Documentation/virt/kvm/api.rst KVM_SET_DEVICE_ATTR;
            arch/x86/kvm/x86.c: kvm_arch_tsc_set_attr
        """
        source = Pinned(value)
        self._set(ioctls.SET_DEVICE_ATTR, _ATTRIBUTE.pack(0, group, attribute, source.address))
