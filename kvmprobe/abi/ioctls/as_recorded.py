"""Ioctls that kvmprobe issues only as a program was recorded to issue them: linux/kvm.h, asm/kvm.h.

Their structures have neither pointers nor descriptors.  No op and no method of the library is for
them.
"""

from __future__ import annotations

from kvmprobe.abi.ioctls.spec import Descriptor, Direction, IoctlSpec
from kvmprobe.abi.layout import Layout

_VM, _VCPU = Descriptor.VM, Descriptor.VCPU
_WRITE, _READ, _BOTH = Direction.WRITE, Direction.READ, Direction.BOTH
_MCE_CAP = Layout("", {"mcg_cap": "Q"})
_PIT_STATE = Layout("struct kvm_pit_state2", {"channels": "72s", "flags": "I", "reserved": "36x"})
_IRQCHIP = Layout("struct kvm_irqchip", {"chip_id": "I", "pad": "4x", "chip": "512s"})

GET_PIT2 = IoctlSpec("KVM_GET_PIT2", 0x9F, _VM, _READ, _PIT_STATE)
# Its number says that the kernel writes, which is wrong.
SET_IRQCHIP = IoctlSpec("KVM_SET_IRQCHIP", 0x63, _VM, _READ, _IRQCHIP)
AS_RECORDED = (
    GET_PIT2,
    SET_IRQCHIP,
    IoctlSpec("KVM_SET_PIT2", 0xA0, _VM, _WRITE, _PIT_STATE),
    IoctlSpec("KVM_GET_IRQCHIP", 0x62, _VM, _BOTH, _IRQCHIP),
    IoctlSpec(
        "KVM_CREATE_PIT2",
        0x77,
        _VM,
        _WRITE,
        Layout("struct kvm_pit_config", {"flags": "I", "pad": "60x"}),
    ),
    IoctlSpec("KVM_SET_BOOT_CPU_ID", 0x78, _VM),
    IoctlSpec("KVM_X86_GET_MCE_CAP_SUPPORTED", 0x9D, Descriptor.KVM, _READ, _MCE_CAP),
    IoctlSpec("KVM_X86_SETUP_MCE", 0x9C, _VCPU, _WRITE, _MCE_CAP),
    IoctlSpec(
        "KVM_TPR_ACCESS_REPORTING",
        0x92,
        _VCPU,
        _BOTH,
        Layout("struct kvm_tpr_access_ctl", {"enabled": "I", "flags": "I", "reserved": "32x"}),
    ),
    IoctlSpec(
        "KVM_SET_VAPIC_ADDR",
        0x93,
        _VCPU,
        _WRITE,
        Layout("struct kvm_vapic_addr", {"vapic_addr": "Q"}),
    ),
    IoctlSpec("KVM_KVMCLOCK_CTRL", 0xAD, _VCPU),
    IoctlSpec("KVM_SMI", 0xB7, _VCPU),
)
