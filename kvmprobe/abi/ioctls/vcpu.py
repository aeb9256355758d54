"""Ioctls of a vCPU that move one structure: its registers, events and APIC; and KVM_RUN.

Structures are those of asm/kvm.h and linux/kvm.h.
"""

from __future__ import annotations

import errno
from enum import IntFlag

from kvmprobe.abi.ioctls.spec import Descriptor, Direction, IoctlSpec
from kvmprobe.abi.layout import FieldKind, Layout

_VCPU = Descriptor.VCPU
_WRITE, _READ, _BOTH = Direction.WRITE, Direction.READ, Direction.BOTH

RUN = IoctlSpec(
    "KVM_RUN",
    0x80,
    _VCPU,
    errnos={
        errno.EINTR: "immediate exit, or a signal came",
        errno.EAGAIN: "the vCPU waits for another one to start it",
        errno.EFAULT: "memory of a slot cannot be accessed",
        errno.EINVAL: "the run area requests what this kernel does not know",
    },
)

_GENERAL = "rax rbx rcx rdx rsi rdi rsp rbp r8 r9 r10 r11 r12 r13 r14 r15 rip rflags"
KVM_REGS = Layout("struct kvm_regs", dict.fromkeys(_GENERAL.split(), "Q"))
GET_REGS = IoctlSpec("KVM_GET_REGS", 0x81, _VCPU, _READ, KVM_REGS)
SET_REGS = IoctlSpec("KVM_SET_REGS", 0x82, _VCPU, _WRITE, KVM_REGS)

KVM_SEGMENT = Layout(
    "struct kvm_segment",
    {
        "base": "Q",
        "limit": "I",
        "selector": "H",
        **dict.fromkeys(("type", "present", "dpl", "db", "s", "l", "g", "avl", "unusable"), "B"),
        "padding": "x",
    },
)
KVM_DTABLE = Layout("struct kvm_dtable", {"base": "Q", "limit": "H", "padding": "6x"})
_SEGMENTS_AND_CONTROL: dict[str, str | Layout] = {
    **dict.fromkeys(("cs", "ds", "es", "fs", "gs", "ss", "tr", "ldt"), KVM_SEGMENT),
    **dict.fromkeys(("gdt", "idt"), KVM_DTABLE),
    **dict.fromkeys(("cr0", "cr2", "cr3", "cr4", "cr8", "efer", "apic_base"), "Q"),
}
_ILLEGAL_SREGS = "a control register, EFER, APIC base or segment that is not allowed"
KVM_SREGS = Layout("struct kvm_sregs", {**_SEGMENTS_AND_CONTROL, "interrupt_bitmap": "4Q"})
GET_SREGS = IoctlSpec("KVM_GET_SREGS", 0x83, _VCPU, _READ, KVM_SREGS)
SET_SREGS = IoctlSpec(
    "KVM_SET_SREGS", 0x84, _VCPU, _WRITE, KVM_SREGS, {errno.EINVAL: _ILLEGAL_SREGS}
)

KVM_SREGS2 = Layout("struct kvm_sregs2", {**_SEGMENTS_AND_CONTROL, "flags": "Q", "pdptrs": "4Q"})
GET_SREGS2 = IoctlSpec("KVM_GET_SREGS2", 0xCC, _VCPU, _READ, KVM_SREGS2)
SET_SREGS2 = IoctlSpec(
    "KVM_SET_SREGS2",
    0xCD,
    _VCPU,
    _WRITE,
    KVM_SREGS2,
    {errno.EINVAL: f"an unknown flag, {_ILLEGAL_SREGS}"},
)

KVM_DEBUGREGS = Layout(
    "struct kvm_debugregs", {"db": "4Q", "dr6": "Q", "dr7": "Q", "flags": "Q", "reserved": "72x"}
)
GET_DEBUGREGS = IoctlSpec("KVM_GET_DEBUGREGS", 0xA1, _VCPU, _READ, KVM_DEBUGREGS)
SET_DEBUGREGS = IoctlSpec(
    "KVM_SET_DEBUGREGS",
    0xA2,
    _VCPU,
    _WRITE,
    KVM_DEBUGREGS,
    {errno.EINVAL: "an unknown flag, or DR6 or DR7 beyond 32 bits"},
)

KVM_VCPU_EVENTS = Layout(
    "struct kvm_vcpu_events",
    {
        "exception": Layout(
            "",
            {
                "injected": "B",
                "nr": "B",
                "has_error_code": "B",
                "pending": "B",
                "error_code": "I",
            },
        ),
        "interrupt": Layout("", {"injected": "B", "nr": "B", "soft": "B", "shadow": "B"}),
        "nmi": Layout("", {"injected": "B", "pending": "B", "masked": "B", "pad": "x"}),
        "sipi_vector": "I",
        "flags": "I",
        "smi": Layout("", {"smm": "B", "pending": "B", "smm_inside_nmi": "B", "latched_init": "B"}),
        "triple_fault": Layout("", {"pending": "B"}),
        "reserved": "26x",
        "exception_has_payload": "B",
        "exception_payload": "Q",
    },
    {"triple_fault": FieldKind.COUNT},
)
GET_VCPU_EVENTS = IoctlSpec("KVM_GET_VCPU_EVENTS", 0x9F, _VCPU, _READ, KVM_VCPU_EVENTS)
SET_VCPU_EVENTS = IoctlSpec(
    "KVM_SET_VCPU_EVENTS",
    0xA0,
    _VCPU,
    _WRITE,
    KVM_VCPU_EVENTS,
    {errno.EINVAL: "an unknown flag, no such exception, or injected and pending at once"},
)

KVM_MP_STATE = Layout("struct kvm_mp_state", {"mp_state": "I"}, {"mp_state": FieldKind.COUNT})
GET_MP_STATE = IoctlSpec("KVM_GET_MP_STATE", 0x98, _VCPU, _READ, KVM_MP_STATE)
SET_MP_STATE = IoctlSpec(
    "KVM_SET_MP_STATE",
    0x99,
    _VCPU,
    _WRITE,
    KVM_MP_STATE,
    {errno.EINVAL: "no such state, or not without an interrupt controller in the kernel"},
)

KVM_LAPIC_STATE = Layout("struct kvm_lapic_state", {"regs": "1024s"})
_NO_LAPIC = "the VM has no interrupt controller in the kernel"
GET_LAPIC = IoctlSpec(
    "KVM_GET_LAPIC", 0x8E, _VCPU, _READ, KVM_LAPIC_STATE, {errno.EINVAL: _NO_LAPIC}
)
SET_LAPIC = IoctlSpec(
    "KVM_SET_LAPIC",
    0x8F,
    _VCPU,
    _WRITE,
    KVM_LAPIC_STATE,
    {errno.EINVAL: f"{_NO_LAPIC}, or a wrong APIC id"},
)

KVM_SYNC_REGS = Layout(
    "struct kvm_sync_regs",
    {"regs": KVM_REGS, "sregs": KVM_SREGS, "events": KVM_VCPU_EVENTS},
)
# The beginning of the area that a vCPU shares with the kernel; struct kvm_sync_regs follows.
KVM_RUN_HEAD = Layout(
    "struct kvm_run",
    {
        "request_interrupt_window": "B",
        "immediate_exit": "B",
        "padding1": "6x",
        "exit_reason": "I",
        "ready_for_interrupt_injection": "B",
        "if_flag": "B",
        "flags": "H",
        "cr8": "Q",
        "apic_base": "Q",
        "padding": "256x",
        "kvm_valid_regs": "Q",
        "kvm_dirty_regs": "Q",
    },
)

KVM_TRANSLATION = Layout(
    "struct kvm_translation",
    {
        "linear_address": "Q",
        "physical_address": "Q",
        "valid": "B",
        "writeable": "B",
        "usermode": "B",
        "pad": "5x",
    },
)
TRANSLATE = IoctlSpec("KVM_TRANSLATE", 0x85, _VCPU, _BOTH, KVM_TRANSLATION)

KVM_INTERRUPT = Layout("struct kvm_interrupt", {"irq": "I"})
INTERRUPT = IoctlSpec(
    "KVM_INTERRUPT",
    0x86,
    _VCPU,
    _WRITE,
    KVM_INTERRUPT,
    {
        errno.EINVAL: "a vector beyond 255",
        errno.ENXIO: "the VM has an interrupt controller in the kernel",
        errno.EEXIST: "an interrupt is pending",
    },
)
NMI = IoctlSpec("KVM_NMI", 0x9A, _VCPU)


class DebugControl(IntFlag):
    """``kvm_guest_debug.control`` (linux/kvm.h, asm/kvm.h)."""

    NONE = 0
    ENABLE = 1
    SINGLESTEP = 2
    USE_SW_BP = 0x10000
    USE_HW_BP = 0x20000


KVM_GUEST_DEBUG_ARCH = Layout("struct kvm_guest_debug_arch", {"debugreg": "8Q"})
KVM_GUEST_DEBUG = Layout(
    "struct kvm_guest_debug", {"control": "I", "pad": "4x", "arch": KVM_GUEST_DEBUG_ARCH}
)
SET_GUEST_DEBUG = IoctlSpec(
    "KVM_SET_GUEST_DEBUG",
    0x9B,
    _VCPU,
    _WRITE,
    KVM_GUEST_DEBUG,
    {errno.EBUSY: "an exception is pending"},
)

SET_TSC_KHZ = IoctlSpec(
    "KVM_SET_TSC_KHZ",
    0xA2,
    _VCPU,
    errnos={errno.EINVAL: "more than the hardware can be scaled to"},
)
GET_TSC_KHZ = IoctlSpec("KVM_GET_TSC_KHZ", 0xA3, _VCPU)

KVM_VMX_NESTED_STATE_HDR = Layout(
    "struct kvm_vmx_nested_state_hdr",
    {
        "vmxon_pa": "Q",
        "vmcs12_pa": "Q",
        "smm": Layout("", {"flags": "H"}),
        "pad": "2x",
        "flags": "I",
        "preemption_timer_deadline": "Q",
    },
)
KVM_NESTED_STATE = Layout(
    "struct kvm_nested_state", {"flags": "H", "format": "H", "size": "I", "hdr": "120s"}
)
GET_NESTED_STATE = IoctlSpec(
    "KVM_GET_NESTED_STATE",
    0xBE,
    _VCPU,
    _BOTH,
    KVM_NESTED_STATE,
    {
        errno.EINVAL: "KVM has no nested virtualization",
        errno.E2BIG: "larger than the size of KVM_CAP_NESTED_STATE",
    },
)
SET_NESTED_STATE = IoctlSpec(
    "KVM_SET_NESTED_STATE",
    0xBF,
    _VCPU,
    _WRITE,
    KVM_NESTED_STATE,
    {errno.EINVAL: "not legal, or not with this guest's CPUID, or no nested virtualization"},
)
