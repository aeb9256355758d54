"""Named kernel behaviours: where kernels differ, known from probes and never from a version.

A *variant* is legal either way; the running kernel's choice becomes part of what is expected.  A
*defect* is never expected: a run with one is a divergence, which the defect then explains.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Self


class Kind(Enum):
    """Whether a behaviour may be expected."""

    VARIANT = "variant"
    DEFECT = "defect"


@dataclass(frozen=True, slots=True)
class Description:
    """What a behaviour is, what changed it, and how it is detected without harm."""

    kind: Kind
    summary: str
    source: str
    detection: str


class Behaviour(Enum):
    """The behaviours the model can take on."""

    KNOWS_APX = Description(
        Kind.VARIANT,
        "XFEATURE_MAX is 20: feature 19 (APX) is known, if not dynamic",
        "arch/x86/include/asm/fpu/types.h: enum xfeature",
        "ARCH_REQ_XCOMP_PERM(19): EOPNOTSUPP where it is known, EINVAL where not",
    )
    DUPLICATE_VCPU_ID_LOCKS = Description(
        Kind.VARIANT,
        "KVM_CREATE_VCPU with an id that is taken freezes the caller's guest permission",
        "virt/kvm/kvm_main.c: kvm_vm_ioctl_create_vcpu, which may look at the id late",
        "a process that shares the VM's memory: KVM_CREATE_VCPU, EEXIST; REQ_XCOMP_GUEST_PERM(18)",
    )
    VCPU_ID_TRUNCATED = Description(
        Kind.DEFECT,
        "KVM_CREATE_VCPU takes an id beyond 32 bits for its lower half",
        'Linux commit 8b8e57e5096e ("KVM: Reject overly excessive IDs in KVM_CREATE_VCPU")',
        "KVM_CREATE_VCPU(1 << 32 | 7) returns a descriptor",
    )
    STANDARD_FORMAT = Description(
        Kind.VARIANT,
        "the fpstate is in the standard format: loads and saves move MXCSR without XSTATE_BV[1]",
        "arch/x86/kernel/fpu/xstate.h: os_xsave, os_xrstor, on a CPU without XSAVEC and XSAVES",
        "SET_XSAVE(YMM) with an MXCSR; KVM_RUN(immediate_exit); GET_XSAVE2 shows SSE",
    )
    UNSUPPORTED_MSRS_IGNORED = Description(
        Kind.VARIANT,
        "access to an MSR that KVM or the guest lacks succeeds: it reads 0, and keeps nothing",
        "arch/x86/kvm/x86.c: kvm_do_msr_access, where the module parameter ignore_msrs is set",
        "before KVM_SET_CPUID2: SET_MSRS(0x40004000=1) returns 1",
    )
    XSS_FOLLOWS_CPUID = Description(
        Kind.VARIANT,
        "the host writes IA32_XSS only within the guest's CPUID; 0 too if KVM does not list it",
        "arch/x86/kvm/x86.c: kvm_set_msr_common, MSR_IA32_XSS",
        "before KVM_SET_CPUID2: SET_MSRS(XSS=0), SET_MSRS(XSS=CET): XSS stays 0",
    )
    VENDOR_OWNS_CR4 = Description(
        Kind.VARIANT,
        "KVM's vendor module decides which bits CR4 may have, whatever CPUID says (kvm_pvm)",
        "arch/x86/kvm/x86.c: kvm_is_valid_cr4, where vendor modules have a hook",
        "before KVM_SET_CPUID2: SET_SREGS(CR4.OSXSAVE) is accepted, but KVM lists no XSAVE",
    )
    VENDOR_OWNS_PAT = Description(
        Kind.VARIANT,
        "KVM's vendor module accepts every value of IA32_PAT from the host (kvm_pvm)",
        "arch/x86/kvm/x86.c: kvm_set_msr_common, MSR_IA32_CR_PAT, which vendor modules may precede",
        "before KVM_SET_CPUID2: SET_MSRS(PAT=2) returns 1, though 2 is a reserved memory type",
    )
    CR4_NEEDS_CPUID = Description(
        Kind.VARIANT,
        "before KVM_SET_CPUID2 KVM_SET_SREGS refuses every bit of CR4 that stands for a feature",
        "arch/x86/kvm/cpuid.c: kvm_vcpu_after_set_cpuid, called when the vCPU is created",
        "before KVM_SET_CPUID2: SET_SREGS(CR4.OSXSAVE): EINVAL",
    )
    EXITS_DISABLED_LATE = Description(
        Kind.VARIANT,
        "KVM_CAP_X86_DISABLE_EXITS can be enabled after a vCPU was created",
        'Linux commit 04cd8f8628d8 ("KVM: x86: Disallow KVM_CAP_X86_DISABLE_EXITS after vCPU'
        ' creation")',
        "KVM_ENABLE_CAP(KVM_CAP_X86_DISABLE_EXITS, 0) after KVM_CREATE_VCPU returns 0",
    )
    ONE_REG_MSRS = Description(
        Kind.VARIANT,
        "KVM_GET_ONE_REG and KVM_SET_ONE_REG know MSRs, and there is KVM_GET_REG_LIST",
        "arch/x86/kvm/x86.c: kvm_get_set_one_reg",
        "KVM_GET_REG_LIST before KVM_SET_CPUID2 returns 0",
    )
    KNOWS_TMUL_FEATURES = Description(
        Kind.VARIANT,
        "supported CPUID has 0x1E.1, the further AMX features, where the CPU has that sub-leaf",
        "arch/x86/kvm/cpuid.c: __do_cpuid_func, leaf 0x1E",
        "KVM_GET_SUPPORTED_CPUID with 0x1E.0:EAX=1 and 0x1E.1",
    )
    HIDES_XSAVE_FEATURES = Description(
        Kind.VARIANT,
        "KVM offers fewer features of XSAVE or AMX than the CPU has and KVM knows",
        "arch/x86/kvm/cpuid.c: kvm_set_cpu_caps, and a vendor module that clears capabilities",
        "KVM_GET_SUPPORTED_CPUID: 0xD.1:EAX or 7.0:EDX (AMX) have fewer bits than the CPU's",
    )
    VENDOR_REWRITES_CPUID = Description(
        Kind.VARIANT,
        "KVM's vendor module replaces XSTATE features in the table that user space sets (kvm_pvm)",
        "arch/x86/kvm/cpuid.c: kvm_vcpu_after_set_cpuid, where vendor modules have a hook",
        "KVM_SET_CPUID2 with 0xD.0:EAX=3 alone; KVM_GET_CPUID2 shows more",
    )
    SGX_XFRM_FOLLOWS_XCR0 = Description(
        Kind.VARIANT,
        "a guest's 0x12.1:EDX:ECX, what enclaves may have in XCR0, is kept within 0xD.0:EDX:EAX",
        "arch/x86/kvm/cpuid.c: __kvm_update_cpuid_runtime, leaf 0x12, as of 6.1",
        "KVM_SET_CPUID2 with 0xD.0:EAX=7 and all bits in 0x12.1:ECX; KVM_GET_CPUID2 shows 7",
    )
    GET_CPUID2_KEEPS_NENT = Description(
        Kind.VARIANT,
        "a successful KVM_GET_CPUID2 leaves nent at the size of the caller's buffer",
        "arch/x86/kvm/cpuid.c: kvm_vcpu_ioctl_get_cpuid2",
        "KVM_GET_CPUID2 with room for more entries than there are: nent is not their number",
    )
    SET_XSAVE_KEEPS_XFD_ARMED = Description(
        Kind.DEFECT,
        "KVM_SET_XSAVE keeps XSTATE_BV[i] although XFD[i]=1",
        "Linux commit b45f72177594"
        ' ("x86/fpu: Clear XSTATE_BV[i] in guest XSAVE state whenever XFD[i]=1")',
        "SET_MSRS(XFD=b18); SET_XSAVE(XSTATE_BV[18]=1); GET_XSAVE2 still shows bit 18",
    )
    XFD_WRITE_KEEPS_XSTATE_BV = Description(
        Kind.DEFECT,
        "a host write of XFD keeps XSTATE_BV[i] although XFD[i] becomes 1",
        "arch/x86/kernel/fpu/core.c: fpu_update_guest_xfd, which asks for TIF_NEED_FPU_LOAD",
        "SET_XSAVE(XSTATE_BV[18]=1); SET_MSRS(XFD=b18); GET_XSAVE2 still shows bit 18",
    )
    CPUID_ENABLE_DISCARDS_FPSTATE = Description(
        Kind.DEFECT,
        "the KVM_SET_CPUID2 that first enables XTILE_DATA discards all XSTATE restored before",
        "arch/x86/kernel/fpu/xstate.c: fpstate_realloc, which copies no register contents",
        "SET_XSAVE(XSTATE_BV=FP|SSE); SET_CPUID2(XTILE_DATA); GET_XSAVE2 shows INIT state",
    )
    XTILE_CFG_ADVERTISED_ALONE = Description(
        Kind.DEFECT,
        "without guest permission KVM_GET_SUPPORTED_CPUID has XTILE_CFG without XTILE_DATA",
        "Linux commit 55cd57b596e8"
        ' ("KVM: x86: Filter out XTILE_CFG if XTILE_DATA isn\'t permitted")',
        "KVM_GET_SUPPORTED_CPUID 0xD.0:EAX without permission: bit 17 set, bit 18 clear",
    )
    FPU_IOCTLS_IGNORE_XSTATE_BV = Description(
        Kind.DEFECT,
        "KVM_SET_FPU and KVM_GET_FPU use the bytes of FP and SSE whatever XSTATE_BV says of them",
        "arch/x86/kvm/x86.c: kvm_arch_vcpu_ioctl_set_fpu, kvm_arch_vcpu_ioctl_get_fpu",
        "KVM_SET_FPU on a fresh vCPU; KVM_GET_XSAVE2 still shows INIT state",
    )
    REFUSED_NESTED_STATE_STAYS = Description(
        Kind.DEFECT,
        "KVM_SET_NESTED_STATE that fails for want of a VMCS leaves the vCPU in VMX operation",
        "arch/x86/kvm/vmx/nested.c: vmx_set_nested_state, which checks the VMCS last",
        "SET_NESTED_STATE(vmxon_pa=0x1000, vmcs12_pa=0x2000): EINVAL; GET shows vmxon_pa=0x1000",
    )
    SYNC_UPPER_HALF_IGNORED = Description(
        Kind.DEFECT,
        "KVM_RUN ignores bits 32 to 63 of kvm_valid_regs and kvm_dirty_regs",
        'Linux commit a476cadf8ef1 ("KVM: x86: Check that the high 32bits are clear in'
        ' kvm_arch_vcpu_ioctl_run()")',
        "KVM_RUN with kvm_valid_regs=1<<32 and immediate_exit returns EINTR, not EINVAL",
    )
    SET_XSAVE_LIMITED_BY_CPUID = Description(
        Kind.DEFECT,
        "KVM_SET_XSAVE refuses components that KVM supports and the guest's CPUID lacks",
        "Linux commit 8647c52e9504"
        ' ("KVM: x86: Constrain guest-supported xfeatures only at KVM_GET_XSAVE{2}")',
        "KVM_SET_CPUID2 with no entries; KVM_SET_XSAVE(XSTATE_BV[2]=1) fails",
    )

    SREGS_EFER_NOT_CHECKED = Description(
        Kind.DEFECT,
        "KVM_SET_SREGS and KVM_SET_SREGS2 accept reserved bits of EFER",
        'Linux commit 184bd464bdb6 ("KVM: x86: Check EFER validity on KVM_SET_SREGS*")',
        "KVM_SET_SREGS(EFER=1<<1) returns 0",
    )
    CPUID_COMPARED_UNREFRESHED = Description(
        Kind.DEFECT,
        "KVM_SET_CPUID2 after KVM_RUN refuses the same table if CR4, XCR0 or XSS changed unread",
        "Linux commit e2b43fb25243"
        ' ("KVM: x86: Apply runtime updates to current CPUID during KVM_SET_CPUID{,2}")',
        "KVM_RUN; SET_SREGS(CR4.OSXSAVE); SET_CPUID2 with the same table: EINVAL",
    )
    CET_BASE_NOT_CHECKED = Description(
        Kind.DEFECT,
        "the host can write a base address to IA32_U_CET and IA32_S_CET that is not canonical",
        "arch/x86/kvm/x86.c: kvm_is_valid_u_s_cet, which looks at the other bits",
        "SET_MSRS(S_CET=1<<62) returns 1 where the guest has IBT",
    )
    PKRU_BIT_OF_CALLER = Description(
        Kind.DEFECT,
        "KVM_GET_XSAVE2 lacks the guest's PKRU if the caller's was 0 as the guest's FPU was saved",
        "arch/x86/kernel/fpu/xstate.c: __copy_xstate_to_uabi_buf, where the header has no PKRU",
        "caller with PKRU 0: SET_XSAVE(PKRU); KVM_RUN(immediate_exit); GET_XSAVE2: XSTATE_BV[9]=0",
    )

    NM_OF_L1_MISSED = Description(
        Kind.DEFECT,
        "IA32_XFD armed in a nested guest leaves #NM of L1 unintercepted, so KVM misses XFD_ERR",
        "arch/x86/kvm/vmx/vmx.c: vmx_update_exception_bitmap, which writes the current VMCS",
        "L2: WRMSR(XFD=b18); L1: TILELOADD, #NM; the host's GET_MSRS shows XFD_ERR=0",
    )
    EVENTS_SET_BEFORE_CHECK = Description(
        Kind.DEFECT,
        "KVM_SET_VCPU_EVENTS refuses a triple fault that is not enabled when it has set the rest",
        "arch/x86/kvm/x86.c: kvm_vcpu_ioctl_x86_set_vcpu_events, the last check",
        "SET_VCPU_EVENTS(flags=0x20, exception.nr=13) fails; GET_VCPU_EVENTS: exception.nr=13",
    )

    # Members are singletons, and Enum's own hash is a Python function.
    __hash__ = object.__hash__

    @property
    def kind(self) -> Kind:
        """Variant or defect."""
        return self.value.kind


class WatchedBehaviours(frozenset[Behaviour]):
    """The behaviours of a host; records which ones the model asks for.

    :ivar asked: those since it was last cleared
    """

    asked: set[Behaviour]

    def __new__(cls, behaviours: Behaviours) -> Self:
        """Watch these."""
        watched = super().__new__(cls, behaviours)
        watched.asked = set()
        return watched

    def __contains__(self, behaviour: object) -> bool:
        if isinstance(behaviour, Behaviour):
            self.asked.add(behaviour)
        return super().__contains__(behaviour)


Behaviours = frozenset[Behaviour]
DEFECTS: Behaviours = frozenset(b for b in Behaviour if b.kind is Kind.DEFECT)


def variants(behaviours: Behaviours) -> Behaviours:
    """Return what may be expected of a kernel that has ``behaviours``."""
    return behaviours - DEFECTS
