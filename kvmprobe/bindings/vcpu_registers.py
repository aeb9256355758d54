"""Getting and setting a vCPU's registers, one structure a call."""

from __future__ import annotations

import errno

from kvmprobe.abi import ioctls
from kvmprobe.abi.tables import REG_LIST
from kvmprobe.bindings.fd import KvmFd
from kvmprobe.bindings.gateway import Pinned, call_buffer, checked
from kvmprobe.bindings.packing import in_bits
from kvmprobe.bindings.registers import DebugRegs, Regs, Sregs, Sregs2, Translation
from kvmprobe.errors import LayoutError

_REG_SIZE_SHIFT, _REG_SIZE_BITS = 52, 0xF


class RegisterCalls(KvmFd):
    """Registers of a vCPU."""

    def get_regs(self) -> Regs:
        """Return the general registers, RIP and RFLAGS (KVM_GET_REGS).

        :see: Documentation/virt/kvm/api.rst KVM_GET_REGS;
            arch/x86/kvm/x86.c: kvm_arch_vcpu_ioctl_get_regs
        """
        return Regs.from_bytes(self._get(ioctls.GET_REGS))

    def set_regs(self, regs: Regs) -> None:
        """Set the general registers, RIP and RFLAGS (KVM_SET_REGS).

        A pending exception is dropped.

        :see: Documentation/virt/kvm/api.rst KVM_SET_REGS;
            arch/x86/kvm/x86.c: kvm_arch_vcpu_ioctl_set_regs
        """
        self._set(ioctls.SET_REGS, regs.to_bytes())

    def get_sregs(self) -> Sregs:
        """Return segments and control registers (KVM_GET_SREGS).

        :see: Documentation/virt/kvm/api.rst KVM_GET_SREGS;
            arch/x86/kvm/x86.c: kvm_arch_vcpu_ioctl_get_sregs
        """
        return Sregs.from_bytes(self._get(ioctls.GET_SREGS))

    def set_sregs(self, sregs: Sregs) -> None:
        """Set segments and control registers (KVM_SET_SREGS).

        :raises KernelCallError: EINVAL - a control register, EFER, APIC base or segment that is not
            allowed
        :order: after KVM_SET_CPUID2: CR4 and EFER are limited to features in the guest's CPUID
        :see: Documentation/virt/kvm/api.rst KVM_SET_SREGS; arch/x86/kvm/x86.c: __set_sregs
        """
        self._set(ioctls.SET_SREGS, sregs.to_bytes())

    def get_sregs2(self) -> Sregs2:
        """Return segments, control registers and PDPTRs (KVM_GET_SREGS2).

        :capability: KVM_CAP_SREGS2
        :see: Documentation/virt/kvm/api.rst KVM_GET_SREGS2; arch/x86/kvm/x86.c: __get_sregs2
        """
        return Sregs2.from_bytes(self._get(ioctls.GET_SREGS2))

    def set_sregs2(self, sregs: Sregs2) -> None:
        """Set segments, control registers and PDPTRs (KVM_SET_SREGS2).

        :raises KernelCallError: EINVAL - an unknown flag, a control register, EFER, APIC base or
            segment that is not allowed
        :capability: KVM_CAP_SREGS2
        :see: Documentation/virt/kvm/api.rst KVM_SET_SREGS2; arch/x86/kvm/x86.c: __set_sregs2
        """
        self._set(ioctls.SET_SREGS2, sregs.to_bytes())

    def get_debugregs(self) -> DebugRegs:
        """Return the debug registers (KVM_GET_DEBUGREGS).

        :capability: KVM_CAP_DEBUGREGS
        :see: Documentation/virt/kvm/api.rst KVM_GET_DEBUGREGS;
            arch/x86/kvm/x86.c: kvm_vcpu_ioctl_x86_get_debugregs
        """
        return DebugRegs.from_bytes(self._get(ioctls.GET_DEBUGREGS))

    def set_debugregs(self, debugregs: DebugRegs) -> None:
        """Set the debug registers (KVM_SET_DEBUGREGS).

        :raises KernelCallError: EINVAL - an unknown flag, or DR6 or DR7 beyond 32 bits
        :capability: KVM_CAP_DEBUGREGS
        :see: Documentation/virt/kvm/api.rst KVM_SET_DEBUGREGS;
            arch/x86/kvm/x86.c: kvm_vcpu_ioctl_x86_set_debugregs
        """
        self._set(ioctls.SET_DEBUGREGS, debugregs.to_bytes())

    def get_one_reg(self, register_id: int) -> int:
        """Return one register (KVM_GET_ONE_REG).

        :param register_id: KVM_REG_X86 | size | type | index; bits 52 to 55 are log2 of its bytes
        :raises KernelCallError: EINVAL - no such register, or the kernel is older than 6.18
        :see: Documentation/virt/kvm/api.rst KVM_GET_ONE_REG;
            arch/x86/kvm/x86.c: kvm_get_set_one_reg
        """
        value = bytearray(_register_size(register_id))
        target = Pinned(value)
        self._set_members(ioctls.GET_ONE_REG, id=register_id, addr=target.address)
        return int.from_bytes(value, "little")

    def set_one_reg(self, register_id: int, value: int) -> None:
        """Set one register (KVM_SET_ONE_REG).

        :param register_id: KVM_REG_X86 | size | type | index; bits 52 to 55 are log2 of its bytes
        :raises LayoutError: the value does not fit the register
        :raises KernelCallError: EINVAL - no such register, or the kernel is older than 6.18, or an
            illegal value
        :see: Documentation/virt/kvm/api.rst KVM_SET_ONE_REG;
            arch/x86/kvm/x86.c: kvm_get_set_one_reg
        """
        size = _register_size(register_id)
        if not in_bits(value, 8 * size):
            raise LayoutError(f"register {register_id:#x}: {value} does not fit {8 * size} bits")
        source = Pinned(value.to_bytes(size, "little"))
        self._set_members(ioctls.SET_ONE_REG, id=register_id, addr=source.address)

    def get_reg_list(self) -> tuple[int, ...]:
        """Return the ids that KVM_GET_ONE_REG knows here (KVM_GET_REG_LIST).

        :raises KernelCallError: EINVAL - the kernel is older than 6.18
        :see: Documentation/virt/kvm/api.rst KVM_GET_REG_LIST
        """
        head = bytearray(REG_LIST.offset(0))
        result = call_buffer(self.fd, ioctls.GET_REG_LIST.number, head)
        if result not in {0, -errno.E2BIG}:
            checked(result, ioctls.GET_REG_LIST.name, self._target)
        table = bytearray(REG_LIST.with_room(REG_LIST.count(head)))
        self._move(ioctls.GET_REG_LIST, table)
        return tuple(register for (register,) in REG_LIST.entries(table, REG_LIST.count(head)))

    def translate(self, linear_address: int) -> Translation:
        """Return where the guest's page tables put an address (KVM_TRANSLATE).

        :see: Documentation/virt/kvm/api.rst KVM_TRANSLATE;
            arch/x86/kvm/x86.c: kvm_arch_vcpu_ioctl_translate
        """
        buffer = bytearray(Translation(linear_address=linear_address).to_bytes())
        self._move(ioctls.TRANSLATE, buffer)
        return Translation.from_bytes(bytes(buffer))


def _register_size(register_id: int) -> int:
    return 1 << (register_id >> _REG_SIZE_SHIFT & _REG_SIZE_BITS)
