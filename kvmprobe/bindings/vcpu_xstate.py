"""A vCPU's extended state: XSAVE images, XCR0, the legacy view of x87 and SSE.

**Hazard.**  A kernel with a known defect keeps XSTATE_BV[i]=1 in the guest's state although
IA32_XFD[i]=1; the host's next XRSTOR of that state raises #NM in the kernel and panics the host.
KVM_RUN does that load, even with ``immediate_exit``, and so does access to MSRs that live in XSTATE
(CET).  Never load an image with a component that IA32_XFD disables; on a host that must stay up,
call :meth:`XstateCalls.load_hazard` before each of those calls.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.abi import ioctls
from kvmprobe.abi.numbers import Msr
from kvmprobe.abi.tables import MOST_XCRS, XCRS
from kvmprobe.bindings.packing import packed_table
from kvmprobe.bindings.registers import Fpu
from kvmprobe.bindings.vcpu_cpuid import CpuidCalls
from kvmprobe.errors import LayoutError

if TYPE_CHECKING:
    from collections.abc import Mapping

_XSTATE_BV = slice(512, 520)
_XCR0 = 0


class XstateCalls(CpuidCalls):
    """Extended state of a vCPU; see the module for what can panic the host.

    :ivar xsave_size: bytes of a uabi image: KVM_CAP_XSAVE2 when the vCPU was created
    """

    xsave_size: int

    def get_xsave(self) -> bytes:
        """Return a uabi image of 4096 bytes (KVM_GET_XSAVE).

        :raises KernelCallError: EINVAL - this vCPU's image is larger than 4096 bytes
        :see: Documentation/virt/kvm/api.rst KVM_GET_XSAVE;
            arch/x86/kvm/x86.c: kvm_vcpu_ioctl_x86_get_xsave
        """
        return self._get(ioctls.GET_XSAVE)

    def get_xsave2(self) -> bytes:
        """Return the uabi image, standard format, of ``xsave_size`` bytes (KVM_GET_XSAVE2).

        :capability: KVM_CAP_XSAVE2
        :see: Documentation/virt/kvm/api.rst KVM_GET_XSAVE2; SDM vol.1 §13.4 "XSAVE Area";
            arch/x86/kvm/x86.c: kvm_vcpu_ioctl_x86_get_xsave2
        """
        # The kernel does not know the size: it would write past the end of a shorter buffer.
        image = bytearray(self.xsave_size)
        self._move(ioctls.GET_XSAVE2, image)
        return bytes(image)

    def set_xsave(self, image: bytes) -> None:
        """Load extended state from a uabi image (KVM_SET_XSAVE).

        Hazard: with a component in XSTATE_BV that IA32_XFD disables, the next load of this state
        panics an unfixed host.

        :param image: standard format, at least ``xsave_size`` bytes
        :raises LayoutError: the image is shorter
        :raises KernelCallError: EINVAL - XSTATE_BV, XCOMP_BV, reserved bytes or MXCSR that are not
            accepted
        :order: after KVM_SET_CPUID2, KVM_SET_XCRS and IA32_XFD
        :see: Documentation/virt/kvm/api.rst KVM_SET_XSAVE;
            arch/x86/kernel/fpu/core.c: fpu_copy_uabi_to_guest_fpstate
        """
        if len(image) < self.xsave_size:
            raise LayoutError(f"an XSAVE image takes {self.xsave_size} bytes, not {len(image)}")
        self._set(ioctls.SET_XSAVE, image)

    def load_hazard(self) -> int:
        """Return XSTATE_BV & IA32_XFD: not 0 if the next load of this state may panic the host.

        It reads both without a load (KVM_GET_XSAVE2, KVM_GET_MSRS).

        :see: SDM vol.1 §13.14 "Extended Feature Disable (XFD)";
            arch/x86/kernel/fpu/core.c: fpu_update_guest_xfd, fpu_swap_kvm_fpstate
        """
        xfd = sum(self.get_msrs((Msr.IA32_XFD,)))
        return int.from_bytes(self.get_xsave2()[_XSTATE_BV], "little") & xfd

    def get_xcrs(self) -> dict[int, int]:
        """Return the extended control registers by number (KVM_GET_XCRS): XCR0 alone on x86.

        :capability: KVM_CAP_XCRS
        :see: Documentation/virt/kvm/api.rst KVM_GET_XCRS;
            arch/x86/kvm/x86.c: kvm_vcpu_ioctl_x86_get_xcrs
        """
        xcrs = self._get(ioctls.GET_XCRS)
        return dict(XCRS.entries(xcrs, XCRS.count(xcrs)))

    def set_xcrs(self, values: Mapping[int, int]) -> None:
        """Set extended control registers by number (KVM_SET_XCRS); all but 0 are ignored.

        :param values: 16 at most
        :raises LayoutError: more than 16, or a number that does not fit its field
        :raises KernelCallError: EINVAL - illegal, or not within the guest's CPUID
        :capability: KVM_CAP_XCRS
        :order: after KVM_SET_CPUID2; before KVM_SET_XSAVE
        :see: Documentation/virt/kvm/api.rst KVM_SET_XCRS; arch/x86/kvm/x86.c: __kvm_set_xcr;
            SDM vol.1 §13.3 "Enabling the XSAVE Feature Set and XSAVE-Enabled Features"
        """
        if len(values) > MOST_XCRS:
            raise LayoutError(f"{MOST_XCRS} extended control registers at most, not {len(values)}")
        xcrs = packed_table(XCRS, list(values.items()), 0)
        self._set(ioctls.SET_XCRS, xcrs.ljust(ioctls.SET_XCRS.size, b"\0"))

    def get_xcr0(self) -> int:
        """Return XCR0 (KVM_GET_XCRS).

        :see: Documentation/virt/kvm/api.rst KVM_GET_XCRS
        """
        return self.get_xcrs()[_XCR0]

    def set_xcr0(self, value: int) -> None:
        """Set XCR0 (KVM_SET_XCRS); for its errors see :meth:`set_xcrs`.

        :see: Documentation/virt/kvm/api.rst KVM_SET_XCRS
        """
        self.set_xcrs({_XCR0: value})

    def get_fpu(self) -> Fpu:
        """Return x87 and SSE registers (KVM_GET_FPU).

        :see: Documentation/virt/kvm/api.rst KVM_GET_FPU;
            arch/x86/kvm/x86.c: kvm_arch_vcpu_ioctl_get_fpu
        """
        return Fpu.from_bytes(self._get(ioctls.GET_FPU))

    def set_fpu(self, fpu: Fpu) -> None:
        """Set x87 and SSE registers (KVM_SET_FPU).

        The kernel writes them to the guest's XSAVE area and leaves XSTATE_BV as it is: a
        component in its INIT configuration stays there.  :meth:`set_xsave` sets XSTATE_BV, too.

        :see: Documentation/virt/kvm/api.rst KVM_SET_FPU;
            arch/x86/kvm/x86.c: kvm_arch_vcpu_ioctl_set_fpu
        """
        self._set(ioctls.SET_FPU, fpu.to_bytes())
