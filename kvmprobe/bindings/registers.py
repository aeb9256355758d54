"""A vCPU's registers: ``struct kvm_regs``, ``kvm_sregs``, ``kvm_sregs2`` and ``kvm_debugregs``."""

from __future__ import annotations

from dataclasses import dataclass, field

from kvmprobe.abi import ioctls
from kvmprobe.bindings.structures import Structure


@dataclass(slots=True)
class Regs(Structure):
    """General registers, 64 bits each; bit 1 of RFLAGS is always 1.

    >>> Regs(rip=0x1000, rax=2).to_bytes()[:8].hex()
    '0200000000000000'
    """

    layout = ioctls.KVM_REGS

    rax: int = 0
    rbx: int = 0
    rcx: int = 0
    rdx: int = 0
    rsi: int = 0
    rdi: int = 0
    rsp: int = 0
    rbp: int = 0
    r8: int = 0
    r9: int = 0
    r10: int = 0
    r11: int = 0
    r12: int = 0
    r13: int = 0
    r14: int = 0
    r15: int = 0
    rip: int = 0
    rflags: int = 2


@dataclass(slots=True)
class Segment(Structure):
    """A segment register with its hidden part.

    :ivar limit: in bytes, for either value of ``g``
    :see: SDM vol.3 §3.4.5 "Segment Descriptors"
    """

    layout = ioctls.KVM_SEGMENT

    base: int = 0
    limit: int = 0
    selector: int = 0
    type: int = 0
    present: int = 0
    dpl: int = 0
    db: int = 0
    s: int = 0
    l: int = 0  # noqa: E741 - the kernel's name
    g: int = 0
    avl: int = 0
    unusable: int = 0


@dataclass(slots=True)
class DescriptorTable(Structure):
    """GDTR or IDTR; the limit is one less than the table's bytes."""

    layout = ioctls.KVM_DTABLE

    base: int = 0
    limit: int = 0


@dataclass(slots=True)
class _SegmentsAndControl(Structure):
    cs: Segment = field(default_factory=Segment)
    ds: Segment = field(default_factory=Segment)
    es: Segment = field(default_factory=Segment)
    fs: Segment = field(default_factory=Segment)
    gs: Segment = field(default_factory=Segment)
    ss: Segment = field(default_factory=Segment)
    tr: Segment = field(default_factory=Segment)
    ldt: Segment = field(default_factory=Segment)
    gdt: DescriptorTable = field(default_factory=DescriptorTable)
    idt: DescriptorTable = field(default_factory=DescriptorTable)
    cr0: int = 0
    cr2: int = 0
    cr3: int = 0
    cr4: int = 0
    cr8: int = 0
    efer: int = 0
    apic_base: int = 0


@dataclass(slots=True)
class Sregs(_SegmentsAndControl):
    """Segments and control registers.

    A new vCPU has the values after reset: get them, change some, and set them.

    :ivar interrupt_bitmap: 256 bits; at most one is set: an interrupt to inject
    """

    layout = ioctls.KVM_SREGS

    interrupt_bitmap: tuple[int, ...] = (0, 0, 0, 0)


@dataclass(slots=True)
class Sregs2(_SegmentsAndControl):
    """As :class:`Sregs`, with the PDPTRs of a guest in PAE mode and no interrupt.

    :ivar flags: bit 0: ``pdptrs`` are valid (KVM_SREGS2_FLAGS_PDPTRS_VALID)
    """

    layout = ioctls.KVM_SREGS2

    flags: int = 0
    pdptrs: tuple[int, ...] = (0, 0, 0, 0)


@dataclass(slots=True)
class DebugRegs(Structure):
    """DR0 to DR3, DR6 and DR7."""

    layout = ioctls.KVM_DEBUGREGS

    db: tuple[int, ...] = (0, 0, 0, 0)
    dr6: int = 0
    dr7: int = 0
    flags: int = 0


@dataclass(slots=True)
class Fpu(Structure):
    """x87 and SSE registers; KVM_GET_XSAVE2 has the complete state.

    :ivar fpr: eight of 16 bytes, of which a register takes 10
    :ivar ftwx: abridged tag word, as FXSAVE stores it
    :ivar xmm: sixteen of 16 bytes
    :ivar mxcsr: unused: KVM neither reads nor writes it
    """

    layout = ioctls.KVM_FPU

    fpr: tuple[bytes, ...] = (bytes(16),) * 8
    fcw: int = 0x37F
    fsw: int = 0
    ftwx: int = 0
    last_opcode: int = 0
    last_ip: int = 0
    last_dp: int = 0
    xmm: tuple[bytes, ...] = (bytes(16),) * 16
    mxcsr: int = 0


@dataclass(slots=True)
class Translation(Structure):
    """The translation of a linear address by the guest's page tables (``struct kvm_translation``).

    :ivar valid: 1 if it is mapped
    :ivar writeable: always 1, and ``usermode`` always 0: KVM does not determine them
    """

    layout = ioctls.KVM_TRANSLATION

    linear_address: int = 0
    physical_address: int = 0
    valid: int = 0
    writeable: int = 0
    usermode: int = 0
