"""CPUID and MSRs of a vCPU."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.abi import ioctls
from kvmprobe.abi.numbers import KVM_MAX_CPUID_ENTRIES
from kvmprobe.abi.tables import CPUID2
from kvmprobe.bindings.fd import KvmFd
from kvmprobe.bindings.tables import empty_cpuid, msr_table, msr_values, used_cpuid
from kvmprobe.errors import LayoutError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class CpuidCalls(KvmFd):
    """CPUID and MSRs of a vCPU."""

    def set_cpuid2(self, table: bytes) -> None:
        """Set the CPUID table of the guest (KVM_SET_CPUID2).

        :param table: ``struct kvm_cpuid2`` with its entries: what :meth:`Kvm.supported_cpuid`
            returns, or :meth:`kvmprobe.xstate.CpuidTable.to_bytes`
        :raises LayoutError: the table is shorter than its header says
        :raises KernelCallError: E2BIG - more than 256 entries; EINVAL - differs after the guest has
            run, or a bad address width; EPERM - XTILE_DATA without guest permission
        :order: after the permission request; before KVM_SET_SREGS, KVM_SET_XCRS, KVM_SET_MSRS and
            an image with XTILE_DATA
        :see: Documentation/virt/kvm/api.rst KVM_SET_CPUID2; arch/x86/kvm/cpuid.c: kvm_set_cpuid
        """
        if len(table) < CPUID2.offset(0):
            raise LayoutError(f"CPUID table of {len(table)} bytes has no header")
        nent = CPUID2.count(table)
        # The kernel refuses more than 256 before it reads them.
        if nent <= KVM_MAX_CPUID_ENTRIES and CPUID2.offset(nent) > len(table):
            raise LayoutError(f"CPUID table of {len(table)} bytes cannot hold {nent} entries")
        self._set(ioctls.SET_CPUID2, table)

    def get_cpuid2(self) -> bytes:
        """Return the current CPUID table of the guest (KVM_GET_CPUID2).

        It is the table that was set, with the values that follow CR4, XCR0 and IA32_XSS.  Linux 6.1
        leaves the number of entries at 256; the unused ones are zero.

        :returns: ``struct kvm_cpuid2``: 8 bytes of header, 40 bytes an entry
        :raises KernelCallError: E2BIG - more entries than there is room for
        :see: arch/x86/kvm/cpuid.c: kvm_vcpu_ioctl_get_cpuid2, kvm_update_cpuid_runtime
        """
        table = empty_cpuid()
        self._move(ioctls.GET_CPUID2, table)
        return used_cpuid(table)

    def set_msrs(self, values: Mapping[int, int]) -> int:
        """Write MSRs in order; returns how many were accepted (KVM_SET_MSRS).

        The kernel stops at the first value that it refuses; that is not an error.  Hazard:
        IA32_XFD written after an image that has the component panics an unfixed host at the next
        load of the guest's state.

        :raises KernelCallError: E2BIG - 256 entries or more
        :order: after KVM_SET_CPUID2; IA32_XFD before KVM_SET_XSAVE
        :see: Documentation/virt/kvm/api.rst KVM_SET_MSRS; arch/x86/kvm/x86.c: msr_io
        """
        return self._move(ioctls.SET_MSRS, msr_table(values.items()))

    def get_msrs(self, indices: Sequence[int]) -> tuple[int, ...]:
        """Read MSRs in order, up to the first that the kernel refuses (KVM_GET_MSRS).

        :raises KernelCallError: E2BIG - 256 entries or more
        :see: Documentation/virt/kvm/api.rst KVM_GET_MSRS; arch/x86/kvm/x86.c: msr_io
        """
        table = msr_table((index, 0) for index in indices)
        return msr_values(table, self._move(ioctls.GET_MSRS, table))

    def get_tsc_khz(self) -> int:
        """Return the frequency of the guest's TSC in kHz (KVM_GET_TSC_KHZ).

        :capability: KVM_CAP_GET_TSC_KHZ
        :see: Documentation/virt/kvm/api.rst KVM_GET_TSC_KHZ
        """
        return self._issue(ioctls.GET_TSC_KHZ)

    def set_tsc_khz(self, frequency: int) -> None:
        """Set the frequency of the guest's TSC (KVM_SET_TSC_KHZ).

        :param frequency: kHz; 0 is the host's
        :raises KernelCallError: EINVAL - more than the hardware can be scaled to
        :capability: KVM_CAP_TSC_CONTROL, for another frequency than the host's
        :see: Documentation/virt/kvm/api.rst KVM_SET_TSC_KHZ; arch/x86/kvm/x86.c: kvm_set_tsc_khz
        """
        self._issue(ioctls.SET_TSC_KHZ, frequency)
