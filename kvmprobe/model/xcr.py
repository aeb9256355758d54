"""XCR0 of a vCPU.

Shaped like arch/x86/kvm/x86.c: __kvm_set_xcr; SDM vol.1 §13.3 "Enabling the XSAVE Feature Set".
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from kvmprobe.model.outcome import Done, Failed, Step
from kvmprobe.model.rule import KernelFile, KernelSource, ManualSource, Rule
from kvmprobe.xstate.features import AVX512, MPX, XTILE, XFeature

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvmprobe.model.machine import Machine

XCR0_FIELD = "XCR0"
MAX_XCRS = 16


def legal_xcr0(value: int, guest_xcr0: int) -> bool:
    """Return True if XCR0 may have ``value`` under ``guest_supported_xcr0``.

    APX state has the place of MPX state in the standard format.  No ``guest_xcr0`` has both: on a
    CPU with both the kernel uses no XSAVE.

    :see: arch/x86/kvm/x86.c: __kvm_set_xcr;
        arch/x86/kernel/fpu/xstate.c: fpu__init_system_xstate
    """
    avx512 = value & AVX512
    return (
        bool(value & XFeature.FP.bit)
        and (not value & XFeature.YMM.bit or bool(value & XFeature.SSE.bit))
        and not value & ~(guest_xcr0 | XFeature.FP.bit)
        and value & MPX in {0, MPX}
        and avx512 in {0, AVX512}
        and (not avx512 or bool(value & XFeature.YMM.bit))
        and value & XTILE in {0, XTILE}
    )


SET_XCR0 = Rule(
    "XCR0 enables components in legal combinations, within the guest's CPUID",
    ("INV-23",),
    (
        KernelSource(KernelFile.KVM_X86, "__kvm_set_xcr"),
        KernelSource(KernelFile.KVM_X86, "kvm_vcpu_ioctl_x86_set_xcrs"),
        ManualSource(1, "13.3", "Enabling the XSAVE Feature Set and XSAVE-Enabled Features"),
    ),
)


def set_xcr0(machine: Machine, vcpu_name: str, value: int) -> Step:
    """KVM_SET_XCRS with one entry for XCR0; independent of CR4.OSXSAVE, XFD and XSTATE.

    :see: arch/x86/kvm/x86.c: kvm_vcpu_ioctl_x86_set_xcrs
    """
    vcpu = machine.vcpu(vcpu_name)
    if not legal_xcr0(value, vcpu.guest_xcr0):
        return Step(machine, Failed(errno.EINVAL), SET_XCR0)
    return Step(machine.with_vcpu(vcpu_name, vcpu._replace(xcr0=value)), Done(), SET_XCR0)


SET_XCRS = Rule(
    "KVM_SET_XCRS sets the first entry for XCR0 and ignores the others",
    ("INV-23", "INV-24"),
    (
        KernelSource(KernelFile.KVM_X86, "kvm_vcpu_ioctl_x86_set_xcrs"),
        KernelSource(KernelFile.KVM_X86, "__kvm_set_xcr"),
    ),
)


def set_xcrs(
    machine: Machine, vcpu_name: str, entries: Sequence[tuple[int, int]], flags: int
) -> Step:
    """KVM_SET_XCRS with any list: only the first entry for XCR0 counts; no such entry, no change.

    :see: arch/x86/kvm/x86.c: kvm_vcpu_ioctl_x86_set_xcrs
    """
    if len(entries) > MAX_XCRS or flags:
        return Step(machine, Failed(errno.EINVAL), SET_XCRS)
    values = [value for index, value in entries if index == 0]
    if not values:
        return Step(machine, Done(), SET_XCRS)
    step = set_xcr0(machine, vcpu_name, values[0])
    return Step(step.machine, step.outcome, SET_XCRS)


GET_XCR0 = Rule(
    "KVM_GET_XCRS returns the last accepted XCR0",
    ("INV-23", "INV-38"),
    (KernelSource(KernelFile.KVM_X86, "kvm_vcpu_ioctl_x86_get_xcrs"),),
)


def get_xcr0(machine: Machine, vcpu_name: str) -> Step:
    """KVM_GET_XCRS: one entry, the last accepted value.

    :see: arch/x86/kvm/x86.c: kvm_vcpu_ioctl_x86_get_xcrs
    """
    return Step(machine, Done(fields={XCR0_FIELD: machine.vcpu(vcpu_name).xcr0}), GET_XCR0)
