"""Devices of a VM: interrupt controller, clock, eventfds."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from kvmprobe.abi import ioctls
from kvmprobe.bindings.fd import KvmFd
from kvmprobe.bindings.structures import Structure


class IoSpace(IntEnum):
    """The address space of an ioeventfd: a bit of ``kvm_ioeventfd.flags``."""

    MMIO = 0
    PIO = 2


class Attach(IntEnum):
    """Whether to attach or to detach an eventfd."""

    YES = 0
    NO = 1


@dataclass(slots=True)
class Clock(Structure):
    """kvmclock, and the host's clocks when it was read.

    :ivar clock: nanoseconds
    :ivar flags: of :class:`ClockFlag`; REALTIME or 0 when setting
    :ivar realtime: nanoseconds since 1970, valid with ClockFlag.REALTIME
    :ivar host_tsc: ticks, valid with ClockFlag.HOST_TSC
    """

    layout = ioctls.KVM_CLOCK_DATA

    clock: int = 0
    flags: int = 0
    realtime: int = 0
    host_tsc: int = 0


class DeviceCalls(KvmFd):
    """Devices of a VM that KVM emulates in the kernel."""

    def create_irqchip(self) -> None:
        """Create PICs and an I/O APIC, and local APICs for vCPUs (KVM_CREATE_IRQCHIP).

        :raises KernelCallError: EEXIST - the VM has an interrupt controller;
            EINVAL - the VM has a vCPU
        :capability: KVM_CAP_IRQCHIP
        :see: Documentation/virt/kvm/api.rst KVM_CREATE_IRQCHIP;
            arch/x86/kvm/x86.c: kvm_arch_vm_ioctl
        """
        self._issue(ioctls.CREATE_IRQCHIP)

    def irq_line(self, irq: int, level: int) -> None:
        """Set the level of an interrupt line (KVM_IRQ_LINE).

        :param irq: GSI
        :param level: 0 or 1
        :raises KernelCallError: ENXIO - the VM has no interrupt controller in the kernel
        :see: Documentation/virt/kvm/api.rst KVM_IRQ_LINE;
            arch/x86/kvm/x86.c: kvm_vm_ioctl_irq_line
        """
        self._set_members(ioctls.IRQ_LINE, irq=irq, level=level)

    def irqfd(self, eventfd: int, gsi: int, attach: Attach = Attach.YES) -> None:
        """Make an eventfd raise an interrupt (KVM_IRQFD).

        :param eventfd: as :func:`os.eventfd` returns it
        :raises KernelCallError: EINVAL - no such GSI, not an eventfd, or no interrupt controller
            in the kernel; EBUSY - the eventfd is already attached
        :capability: KVM_CAP_IRQFD
        :see: Documentation/virt/kvm/api.rst KVM_IRQFD; virt/kvm/eventfd.c: kvm_irqfd_assign
        """
        self._set_members(ioctls.IRQFD, fd=eventfd, gsi=gsi, flags=attach)

    def ioeventfd(
        self, eventfd: int, space: IoSpace, address: int, length: int, attach: Attach = Attach.YES
    ) -> None:
        """Make a guest's write to an address signal an eventfd instead of ending KVM_RUN.

        It is KVM_IOEVENTFD without DATAMATCH: any value signals the eventfd.

        :param address: port, or guest-physical address in bytes
        :param length: bytes of the write: 1, 2, 4 or 8, or 0 for any
        :raises KernelCallError: EINVAL - not an eventfd, or a length other than 0, 1, 2, 4 or 8;
            EEXIST - the address has an ioeventfd; ENOENT - no ioeventfd at this address to detach
        :capability: KVM_CAP_IOEVENTFD
        :see: Documentation/virt/kvm/api.rst KVM_IOEVENTFD; virt/kvm/eventfd.c: kvm_assign_ioeventfd
        """
        flags = space | attach << 2
        self._set_members(ioctls.IOEVENTFD, addr=address, len=length, fd=eventfd, flags=flags)

    def set_tss_addr(self, address: int) -> None:
        """Set the address of three pages below 4 GiB that KVM may use (KVM_SET_TSS_ADDR).

        The guest must not use them.  Intel processors without unrestricted guest need them for real
        mode.

        :param address: guest-physical, in bytes
        :raises KernelCallError: EINVAL - less than three pages below 4 GiB
        :capability: KVM_CAP_SET_TSS_ADDR
        :see: Documentation/virt/kvm/api.rst KVM_SET_TSS_ADDR;
            arch/x86/kvm/x86.c: kvm_vm_ioctl_set_tss_addr
        """
        self._issue(ioctls.SET_TSS_ADDR, address)

    def set_identity_map_addr(self, address: int) -> None:
        """Set the address of one more such page, for a page table (KVM_SET_IDENTITY_MAP_ADDR).

        :param address: guest-physical, in bytes; 0 is 0xfffbc000
        :raises KernelCallError: EINVAL - the VM has a vCPU
        :capability: KVM_CAP_SET_IDENTITY_MAP_ADDR
        :see: Documentation/virt/kvm/api.rst KVM_SET_IDENTITY_MAP_ADDR;
            arch/x86/kvm/x86.c: kvm_vm_ioctl_set_identity_map_addr
        """
        self._set_members(ioctls.SET_IDENTITY_MAP_ADDR, address=address)

    def get_clock(self) -> Clock:
        """Return kvmclock (KVM_GET_CLOCK).

        :capability: KVM_CAP_ADJUST_CLOCK
        :see: Documentation/virt/kvm/api.rst KVM_GET_CLOCK; arch/x86/kvm/x86.c: get_kvmclock
        """
        return Clock.from_bytes(self._get(ioctls.GET_CLOCK))

    def set_clock(self, clock: Clock) -> None:
        """Set kvmclock (KVM_SET_CLOCK).

        :raises KernelCallError: EINVAL - an unknown flag
        :capability: KVM_CAP_ADJUST_CLOCK
        :see: Documentation/virt/kvm/api.rst KVM_SET_CLOCK;
            arch/x86/kvm/x86.c: kvm_vm_ioctl_set_clock
        """
        self._set(ioctls.SET_CLOCK, clock.to_bytes())
