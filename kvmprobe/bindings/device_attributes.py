"""Device attributes: numbered values of /dev/kvm itself or of a vCPU."""

from __future__ import annotations

import mmap

from kvmprobe.abi import ioctls
from kvmprobe.bindings.fd import KvmFd
from kvmprobe.bindings.gateway import Pinned
from kvmprobe.errors import LayoutError

_ROOM = mmap.PAGESIZE


class AttributeCalls(KvmFd):
    """A descriptor with attributes, each of a group and a number within it."""

    def has_device_attr(self, group: int, attribute: int) -> None:
        """Test for an attribute; an error means that it does not exist (KVM_HAS_DEVICE_ATTR).

        :raises KernelCallError: ENXIO - no such attribute; EINVAL - the kernel is too old
        :see: Documentation/virt/kvm/api.rst KVM_HAS_DEVICE_ATTR;
            arch/x86/kvm/x86.c: kvm_x86_dev_has_attr
        """
        self._set_members(ioctls.HAS_DEVICE_ATTR, group=group, attr=attribute)

    def get_device_attr(self, group: int, attribute: int, size: int = 8) -> bytes:
        """Return an attribute's value (KVM_GET_DEVICE_ATTR).

        :param size: bytes of the value, at most 4096
        :raises LayoutError: a larger size, or a number that does not fit its field
        :raises KernelCallError: ENXIO - no such attribute; EINVAL - the kernel is too old
        :see: Documentation/virt/kvm/api.rst KVM_GET_DEVICE_ATTR;
            arch/x86/kvm/x86.c: kvm_x86_dev_get_attr
        """
        if not 0 <= size <= _ROOM:
            raise LayoutError(f"an attribute's value has 0 to {_ROOM} bytes, not {size}")
        # The kernel does not know the size: it would write past the end of a shorter buffer.
        value = bytearray(_ROOM)
        target = Pinned(value)
        self._set_members(ioctls.GET_DEVICE_ATTR, group=group, attr=attribute, addr=target.address)
        return bytes(value[:size])

    def set_device_attr(self, group: int, attribute: int, value: bytes) -> None:
        """Set an attribute (KVM_SET_DEVICE_ATTR).

        :param value: the attribute's bytes, filled up with zeros
        :raises LayoutError: more than 4096 bytes, or a number that does not fit its field
        :raises KernelCallError: ENXIO - no such attribute; EINVAL - the kernel is too old, or
            refuses the value
        :see: Documentation/virt/kvm/api.rst KVM_SET_DEVICE_ATTR;
            arch/x86/kvm/x86.c: kvm_arch_tsc_set_attr
        """
        if len(value) > _ROOM:
            raise LayoutError(f"an attribute's value has 0 to {_ROOM} bytes, not {len(value)}")
        source = Pinned(value.ljust(_ROOM, b"\0"))
        self._set_members(ioctls.SET_DEVICE_ATTR, group=group, attr=attribute, addr=source.address)
