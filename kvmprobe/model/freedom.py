"""Freedoms: what correct kernels and processors do in different ways, and where that is written.

The model names one of them wherever it leaves something open.  ``contract/unspecified.md`` is the
table of them, with what recorded kernels did.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from kvmprobe.model.rule import (
    AmdManualSource,
    DocumentSource,
    KernelFile,
    KernelSource,
    ManualSource,
    Source,
)

_TRACKING = ManualSource(1, "13.6", "Processor Tracking of XSAVE-Managed State")
_X87_STATE = ManualSource(1, "13.5.1", "x87 State")
_FXSAVE_AREA = ManualSource(1, "table 10-2", "Format of an FXSAVE Area")
_TO_UABI = KernelSource(KernelFile.FPU_XSTATE, "__copy_xstate_to_uabi_buf")
_SAVES = ManualSource(1, "13.11", "Operation of XSAVES")


@dataclass(frozen=True, slots=True)
class Grounds:
    """Why something is open.

    :ivar open: what is open
    :ivar statement: what the sources say, in our own words
    :ivar sources: where they say it, the most telling one first
    :ivar kept: where the guest's value is, whichever answer the kernel gives
    :ivar may_lose: the value that one of the answers does not have, and when; empty if none
    """

    open: str
    statement: str
    sources: tuple[Source, ...]
    kept: str
    may_lose: str = ""

    def __post_init__(self) -> None:
        """Refuse grounds without a source."""
        if not self.sources:
            raise ValueError("a freedom without a source")


class Freedom(Enum):
    """What the model may leave open; each has its grounds."""

    XINUSE_OF_INIT = Grounds(
        "XINUSE of components in INIT state",
        "XINUSE[i] of a component that is not in its initial configuration is 1; of one that is, "
        "it may be 0 or 1, and XSTATE_BV[i] follows it.",
        (_TRACKING, _SAVES),
        "the component is INIT: with the bit set, its bytes say so",
    )
    IN_USE_AND_EXPORTED = Grounds(
        "components that XSAVES finds in use, and what is exported with them",
        "A save writes the bytes of a component, MXCSR and MXCSR_MASK where it finds the component "
        "in use, and leaves the earlier bytes elsewhere; the kernel copies MXCSR out of memory "
        "if XSTATE_BV has SSE or YMM.",
        (_TRACKING, _SAVES, _TO_UABI),
        "each of the answers, loaded again, gives the guest the same registers",
    )
    AVX_LEFT = Grounds(
        "SSE and AVX state in INIT with ZMM_Hi256 in use, on AMD",
        "XSAVEOPT and XSAVES need not write a component that was not modified since the load from "
        "the same area.  On AMD processors with AVX-512 an interrupt or exit may set XINUSE[2:1] "
        "after a load that took SSE or AVX to INIT with ZMM_Hi256 in use; a save then sets the "
        "bits, and for components that it holds to be unmodified leaves the older bytes.  No "
        "publication is known.  In user space, in VMs: 294 of 100,000 XSAVEOPT on family 0x19 "
        "model 0x11; on family 0x1a model 2 AVX state in 3 of 20,000; with XSAVE never.",
        (_TRACKING, AmdManualSource(4, "XSAVEOPT"), _SAVES),
        "INIT, or exactly the bytes that the guest last had there; what is in use is exact, and so "
        "is everything on other processors",
        "SSE and AVX state in INIT: the processor replaces it before the kernel sees it",
    )
    LEGACY_AFTER_SAVE = Grounds(
        "FP and SSE after a save",
        "What hardware finds in INIT state it need not write: KVM_GET_FPU, which looks at the "
        "bytes alone, shows those or INIT.",
        (KernelSource(KernelFile.KVM_X86, "kvm_arch_vcpu_ioctl_get_fpu"), _TRACKING),
        "XSTATE_BV, which KVM_GET_XSAVE2 shows, says which of the bytes are the guest's",
    )
    MXCSR_MASK = Grounds(
        "MXCSR_MASK after a save by hardware",
        "MXCSR_MASK is a constant of the processor.  A save writes it with SSE state, a restore "
        "ignores it, and a save that finds SSE state not in use or not modified leaves it.",
        (ManualSource(1, "13.5.2", "SSE State"), _SAVES),
        "it is no register, so a guest has no value of it",
    )
    X87_RESERVED = Grounds(
        "reserved bits of the x87 environment",
        "Bits 6, 7 and 13 to 15 of FCW and the byte after the abridged FTW are reserved.",
        (ManualSource(1, "8.1.5", "x87 FPU Control Word"), _FXSAVE_AREA),
        "no register has these bits: they are kept or cleared, and FCW bit 6 reads as 1",
    )
    ST_PADDING = Grounds(
        "padding of ST registers",
        "A register has 80 bits; the upper 6 of its 16 bytes are reserved.",
        (_FXSAVE_AREA, ManualSource(1, "8.1.2", "x87 FPU Data Registers")),
        "no register has these bits: they are kept or cleared",
    )
    X87_POINTERS = Grounds(
        "x87 pointers after a save by hardware",
        "FOP, FIP and FDP are part of x87 state, and other processors than AMD's save them.  AMD "
        "processors save them only while an exception is pending, and write 0 or nothing "
        "otherwise.  FOP has 11 bits, and an address that is not canonical need not come back.",
        (
            _X87_STATE,
            AmdManualSource(5, "FXSAVE"),
            KernelSource(KernelFile.CPU_AMD, "init_amd"),
        ),
        "in the image, if the processor keeps them and the model knows them; then they are exact",
        "FOP, FIP and FDP: of an instruction that the guest executed, whose address the model does "
        "not know; on AMD; of an image with values that no register can have",
    )
    X87_BY_POINTERS = Grounds(
        "x87 state that differs from INIT in its pointers alone",
        "x87 state is in its initial configuration only if FOP, FIP and FDP are 0 as well; where "
        "they are not saved, or not set by an instruction without an exception, it may be.",
        (_TRACKING, AmdManualSource(5, "FXSAVE")),
        "the other x87 registers are INIT either way",
        "FOP, FIP and FDP, under the same conditions",
    )
    TILE_CONFIGURATION_ILLEGAL = Grounds(
        "a tile configuration that LDTILECFG refuses, or of palette 0",
        "LDTILECFG raises #GP for it, or takes the tiles to INIT.  What XRSTORS makes of it the "
        "manual leaves out; a processor without such a configuration has INIT.",
        (ManualSource(2, "LDTILECFG"), ManualSource(1, "13.12", "Operation of XRSTORS")),
        "no guest can have it: only KVM_SET_XSAVE or XRSTOR of a made-up image gives it",
        "the bytes of an illegal configuration from an image",
    )
    TILES_OUTSIDE_CONFIGURATION = Grounds(
        "tile data outside the configured tiles",
        "An instruction that writes a tile clears what is outside its shape, and INIT of the "
        "configuration is INIT of the data for LDTILECFG and TILERELEASE.  XRSTOR of the "
        "components one by one can leave data that no tile has; whether it stays is not written.",
        (
            ManualSource(2, "TILERELEASE"),
            ManualSource(2, "TILELOADD/TILELOADDT1"),
            ManualSource(1, "13.12", "Operation of XRSTORS"),
        ),
        "no tile instruction can read it; tiles within their shapes are exact",
        "bytes of tile data that no configured tile has, from a made-up image",
    )
    LEGACY_FOLLOWS_XINUSE = Grounds(
        "x87 and SSE in INIT state in a guest's area: written with XINUSE, or left",
        "XSAVEC, XSAVES and XSAVEOPT write a component if XINUSE has it, then with FCW=0x37f or "
        "MXCSR=0x1f80 and the mask; if not, they leave the bytes.",
        (
            _TRACKING,
            ManualSource(1, "13.9", "Operation of XSAVEOPT"),
            ManualSource(1, "13.10", "Operation of XSAVEC"),
        ),
        "the bit and the bytes go together, and XRSTOR of either answer gives INIT",
    )
    GUEST_XINUSE = Grounds(
        "XGETBV with ECX=1 of components in INIT state",
        "It returns XCR0 and XINUSE, and XINUSE[i] of a component in INIT state may be 0 or 1.",
        (ManualSource(2, "XGETBV"), _TRACKING),
        "the component is INIT, and the instruction changes nothing",
    )
    UNKNOWN_MSR = Grounds(
        "the model does not know the MSR",
        "Which MSRs exist, and with which values, follows the guest's CPUID, the processor and "
        "KVM's parameters: KVM_SET_MSRS returns how many entries it applied.",
        (
            KernelSource(KernelFile.KVM_X86, "kvm_set_msr_common"),
            DocumentSource("Documentation/virt/kvm/api.rst", "4.19 KVM_SET_MSRS"),
        ),
        "the value is in KVM if the call returns 1, else it was refused: the caller knows which",
    )
    PCIDE_AT_ENTRY = Grounds(
        "CR4.PCIDE outside long mode at VM entry",
        "VM entry with CR4.PCIDE=1 needs an IA-32e mode guest; the consistency checks of VMRUN do "
        "not have this one.",
        (
            ManualSource(
                3, "27.3.1.1", "Checks on Guest Control Registers, Debug Registers, and MSRs"
            ),
            AmdManualSource(2, "15.5.1", "Basic Operation"),
        ),
        "no register changes: the guest executes, or KVM_RUN reports that it could not be entered",
    )
    DIFFERS_BETWEEN_CPUS = Grounds(
        "differs between CPUs",
        "APIC ids, caches, the kind of core: CPUID returns those of the processor that executes "
        "it, and KVM_GET_SUPPORTED_CPUID executes it.",
        (
            ManualSource(2, "CPUID"),
            KernelSource(KernelFile.KVM_CPUID, "__do_cpuid_func"),
            DocumentSource("Documentation/virt/kvm/api.rst", "4.46 KVM_GET_SUPPORTED_CPUID"),
        ),
        "the reply of KVM_GET_SUPPORTED_CPUID has it; the checker set_and_get compares what "
        "KVM_GET_CPUID2 returns of the same table",
    )
    VIRTUAL_8086 = Grounds(
        "RFLAGS.VM of a vendor module without virtual-8086 mode",
        "KVM_SET_REGS gives RFLAGS to the vendor module, and one whose guests have no virtual-8086 "
        "mode drops the bit: kvm_pvm on AMD (0x00a10f11) returns 2 for 0x20002; VMX and SVM keep "
        "it.",
        (KernelSource(KernelFile.KVM_X86, "__set_regs"),),
        "exact with kvm_intel and kvm_amd",
        "RFLAGS.VM, with a vendor module that cannot run such a guest",
    )

    # Members are singletons, and Enum's own hash is a Python function.
    __hash__ = object.__hash__

    def __str__(self) -> str:
        """Return what is open."""
        return self.value.open

    @property
    def grounds(self) -> Grounds:
        """Why it is open."""
        return self.value
