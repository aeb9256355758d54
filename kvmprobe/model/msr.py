"""MSRs as the host sets and reads them: XFD, XFD_ERR, XSS, CET, and two plain ones.

Shaped like arch/x86/kvm/x86.c (msrs.c since 7.3): __msr_io, kvm_set_msr_common, kvm_get_msr_common.
Leaves out MSR filters, which host-initiated access bypasses.
"""

from __future__ import annotations

import errno
from enum import Enum
from typing import TYPE_CHECKING

from kvmprobe.abi.numbers import Msr, msr_name
from kvmprobe.model import cet, unsupported_msr, vendor
from kvmprobe.model.behaviours import Behaviour
from kvmprobe.model.fpstate import load_guest_fpu
from kvmprobe.model.outcome import Done, Failed, HostDies, Step
from kvmprobe.model.rule import KernelFile, KernelSource, ManualSource, Rule
from kvmprobe.xstate.cpuid import Register
from kvmprobe.xstate.features import DYNAMIC

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from kvmprobe.model.host import HostProfile
    from kvmprobe.model.machine import GuestCpuid, Machine, Vcpu

XFD_FIELD, XFD_ERR_FIELD = "XFD", "XFD_ERR"
MAX_IO_MSRS = 256
# SDM vol.3 table 12-12 "Memory Type Setting of PAT Entries Following a Power-up or Reset".
PAT_AT_RESET = 0x0007_0406_0007_0406
_PAT_TYPES = frozenset({0, 1, 4, 5, 6, 7})
_PLAIN: dict[int, int] = {Msr.IA32_PAT: PAT_AT_RESET, Msr.IA32_SYSENTER_CS: 0}


class FpuLoad(Enum):
    """Whether the thread that makes an ioctl must load its own FPU state first.

    :see: arch/x86/include/asm/thread_info.h: TIF_NEED_FPU_LOAD
    """

    NOT_NEEDED = "its registers hold its own state"
    NEEDED = "it slept within the ioctl"


# The defect with which a write of XFD keeps XSTATE_BV[i].
_KEEPING = {
    FpuLoad.NOT_NEEDED: Behaviour.XFD_WRITE_KEEPS_XSTATE_BV,
    FpuLoad.NEEDED: Behaviour.SET_XSAVE_KEEPS_XFD_ARMED,
}

SET_XFD = Rule(
    "XFD[i]=1 clears XSTATE_BV[i]",
    ("INV-25", "INV-29"),
    (
        KernelSource(KernelFile.FPU_CORE, "fpu_update_guest_xfd"),
        ManualSource(1, "13.14", "Extended Feature Disable (XFD)"),
    ),
)


def set_xfd(
    machine: Machine, vcpu_name: str, value: int, load: FpuLoad = FpuLoad.NOT_NEEDED
) -> Step:
    """KVM_SET_MSRS(IA32_XFD), host-initiated: processed iff within the guest's dynamic components.

    Arming XFD[i] puts component i of the guest in its INIT state: XSTATE_BV[i] becomes 0.

    :param load: a kernel with the open defect looks at XSTATE_BV only where a load is needed
    :see: arch/x86/kernel/fpu/core.c: fpu_update_guest_xfd;
        SDM vol.1 §13.14 "Extended Feature Disable (XFD)"
    """
    host, vcpu = machine.host, machine.vcpu(vcpu_name)
    return _written_one(machine, vcpu_name, _armed(host, vcpu, value, load), SET_XFD)


SET_XFD_ERR = Rule(
    "XFD_ERR is within the dynamic components of the guest",
    ("INV-25",),
    (KernelSource(KernelFile.KVM_X86, "kvm_set_msr_common"),),
)


def set_xfd_err(machine: Machine, vcpu_name: str, value: int) -> Step:
    """KVM_SET_MSRS(IA32_XFD_ERR), host-initiated.

    :see: arch/x86/kvm/x86.c: kvm_set_msr_common
    """
    written = write(machine.host, machine.vcpu(vcpu_name), Msr.IA32_XFD_ERR, value)
    return _written_one(machine, vcpu_name, written, SET_XFD_ERR)


GET_XFD = Rule(
    "KVM_GET_MSRS returns the last accepted XFD and XFD_ERR",
    ("INV-25", "INV-38"),
    (KernelSource(KernelFile.KVM_X86, "kvm_get_msr_common"),),
)


def get_xfd(machine: Machine, vcpu_name: str) -> Step:
    """KVM_GET_MSRS(IA32_XFD, IA32_XFD_ERR): both always readable by the host.

    :see: arch/x86/kvm/x86.c: kvm_get_msr_common
    """
    vcpu = machine.vcpu(vcpu_name)
    return Step(machine, Done(2, {XFD_FIELD: vcpu.xfd, XFD_ERR_FIELD: vcpu.xfd_err}), GET_XFD)


SET_MSRS = Rule(
    "KVM_SET_MSRS returns how many entries it applied",
    ("INV-25", "INV-26"),
    (
        KernelSource(KernelFile.KVM_X86, "__msr_io"),
        KernelSource(KernelFile.KVM_X86, "kvm_set_msr_common"),
    ),
)


def set_msrs(machine: Machine, vcpu_name: str, entries: Sequence[tuple[int, int]]) -> Step:
    """KVM_SET_MSRS of a list: entries before the first refused one are applied, the others not.

    :see: arch/x86/kvm/x86.c: msr_io, __msr_io
    """
    host = machine.host

    def written(vcpu: Vcpu, place: int) -> Vcpu | None:
        return write(host, vcpu, *entries[place])

    return _io(machine, vcpu_name, [index for index, _ in entries], written, SET_MSRS, {})


GET_MSRS = Rule(
    "KVM_GET_MSRS returns how many entries it read",
    ("INV-25", "INV-26"),
    (
        KernelSource(KernelFile.KVM_X86, "__msr_io"),
        KernelSource(KernelFile.KVM_X86, "kvm_get_msr_common"),
    ),
)


def get_msrs(machine: Machine, vcpu_name: str, indices: Sequence[int]) -> Step:
    """KVM_GET_MSRS of a list: values of the entries before the first one that cannot be read.

    :see: arch/x86/kvm/x86.c: msr_io, __msr_io
    """
    found: dict[str, int] = {}
    access = _into(found, machine.host, indices)
    return _io(machine, vcpu_name, indices, access, GET_MSRS, found)


def _into(
    found: dict[str, int], host: HostProfile, indices: Sequence[int]
) -> Callable[[Vcpu, int], Vcpu | None]:
    """Return an access that reads a list's MSRs into values by name."""

    def access(vcpu: Vcpu, place: int) -> Vcpu | None:
        value = read(host, vcpu, indices[place])
        if value is None:
            return None
        found[msr_name(indices[place])] = value
        return vcpu

    return access


def _io(
    machine: Machine,
    vcpu_name: str,
    indices: Sequence[int],
    access: Callable[[Vcpu, int], Vcpu | None],
    rule: Rule,
    found: Mapping[str, int],
) -> Step:
    """Access each MSR of a list up to the first that cannot be accessed.

    :param access: of the MSR in a place of the list
    :param found: values that are read with it
    """
    if len(indices) >= MAX_IO_MSRS:
        return Step(machine, Failed(errno.E2BIG), rule)
    host, vcpu, done = machine.host, machine.vcpu(vcpu_name), 0
    for place, index in enumerate(indices):
        if loads_fpu(host, vcpu, index):
            fpstate = load_guest_fpu(host, vcpu.fpstate)
            if isinstance(fpstate, HostDies):
                return Step(machine, fpstate, rule)
            vcpu = vcpu._replace(fpstate=fpstate, caller=machine.registers)
        accessed = access(vcpu, place)
        if accessed is None:
            break
        vcpu, done = accessed, done + 1
    return Step(machine.with_vcpu(vcpu_name, vcpu), Done(done, found), rule)


ACCESS_LISTED = Rule(
    "every MSR of KVM_GET_MSR_INDEX_LIST can be read and written back",
    ("INV-26",),
    (
        KernelSource(KernelFile.KVM_X86, "__msr_io"),
        KernelSource(KernelFile.KVM_X86, "kvm_probe_msr_to_save"),
    ),
)
_LISTED = "listed MSRs"


def get_listed(machine: Machine, vcpu_name: str) -> Step:
    """KVM_GET_MSRS of every MSR that KVM lists, in ascending order; keep the values.

    What is advertised can be read.

    :see: tools/testing/selftests/kvm/lib/x86/processor.c: vcpu_save_state
    """
    indices, found = sorted(machine.host.msrs), dict[str, int]()
    access = _into(found, machine.host, indices)
    step = _io(machine, vcpu_name, indices, access, ACCESS_LISTED, {})
    kept = step.machine._replace(saved={**step.machine.saved, _LISTED: found})
    return step._replace(machine=kept)


def restore_listed(machine: Machine, vcpu_name: str, xfd: int) -> Step:
    """KVM_SET_MSRS of what :func:`get_listed` kept, in the same order, with this IA32_XFD.

    What was read can be written.  IA32_XFD comes before the MSRs that load the guest FPU.

    :see: tools/testing/selftests/kvm/lib/x86/processor.c: vcpu_load_state
    """
    host, kept = machine.host, machine.saved.get(_LISTED, {})
    values = {index: kept.get(msr_name(index), 0) for index in sorted(host.msrs)}
    if Msr.IA32_XFD in values:
        values[Msr.IA32_XFD] = xfd
    indices = list(values)

    def written(vcpu: Vcpu, place: int) -> Vcpu | None:
        return write(host, vcpu, indices[place], values[indices[place]])

    return _io(machine, vcpu_name, indices, written, ACCESS_LISTED, {})


def loads_fpu(host: HostProfile, vcpu: Vcpu, index: int) -> bool:
    """Return True if access to an MSR that is in XSTATE loads the guest FPU first.

    :see: arch/x86/kvm/x86.c: is_xstate_managed_msr
    """
    return index in cet.IN_XSTATE and cet.exists(host, vcpu, index)


def write(host: HostProfile, vcpu: Vcpu, index: int, value: int) -> Vcpu | None:
    """Return the vCPU with one MSR written by the host; None where it is refused.

    :see: arch/x86/kvm/x86.c: kvm_set_msr_common, kvm_do_msr_access
    """
    match index:
        case Msr.IA32_XFD:
            return _armed(host, vcpu, value, FpuLoad.NOT_NEEDED)
        case Msr.IA32_XFD_ERR:
            return None if value & ~(vcpu.guest_xcr0 & DYNAMIC) else vcpu._replace(xfd_err=value)
        case Msr.IA32_XSS:
            return _with_xss(host, vcpu, value)
        case _ if not _exists(host, vcpu, index):
            return vcpu if unsupported_msr.is_writable(host, index, value) else None
        case _ if not _accepts(host, vcpu, index, value):
            return None
        case _:
            kept = cet.keeps(host, index, value)
            return vcpu._replace(msrs={**vcpu.msrs, index: value}) if kept else vcpu


def read(host: HostProfile, vcpu: Vcpu, index: int) -> int | None:
    """Return an MSR's value as the host reads it; None where it cannot.

    An MSR that KVM lists reads as zero for a guest that lacks it.

    :see: arch/x86/kvm/x86.c: kvm_get_msr_common, kvm_do_msr_access
    """
    match index:
        case Msr.IA32_XFD:
            return vcpu.xfd
        case Msr.IA32_XFD_ERR:
            return vcpu.xfd_err
        case Msr.IA32_XSS:
            return vcpu.xss
        case _ if _exists(host, vcpu, index):
            return vcpu.msrs.get(index, _PLAIN.get(index, 0))
        case _:
            return 0 if unsupported_msr.is_readable(host, index) else None


def _exists(host: HostProfile, vcpu: Vcpu, index: int) -> bool:
    return index in _PLAIN or cet.exists(host, vcpu, index)


def _accepts(host: HostProfile, vcpu: Vcpu, index: int, value: int) -> bool:
    if index == Msr.IA32_PAT:
        legal = set(value.to_bytes(8, "little")) <= _PAT_TYPES
        return legal or vendor.accepts_any_pat(host)
    # IA32_SYSENTER_CS beyond 32 bits is not tried: some vendor modules cut it, others keep it.
    return index not in cet.MSRS or cet.accepted_from_host(host, vcpu, index, value)


def _with_xss(host: HostProfile, vcpu: Vcpu, value: int) -> Vcpu | None:
    if Behaviour.XSS_FOLLOWS_CPUID not in host.behaviours:
        return None if value & ~host.kvm_xss else vcpu._replace(xss=value)
    if not _has_xsaves(vcpu.cpuid):
        # Advertised, but not this guest's: zero is accepted, and changes nothing.
        return vcpu if unsupported_msr.is_writable(host, Msr.IA32_XSS, value) else None
    return None if value & ~vcpu.guest_xss else vcpu._replace(xss=value)


def _has_xsaves(cpuid: GuestCpuid | None) -> bool:
    return cpuid is not None and cpuid.has(0xD, 1, Register.EAX, 3)


def with_xfd(vcpu: Vcpu, value: int) -> Vcpu:
    """Return the vCPU with IA32_XFD, as the guest writes it without KVM.

    :see: arch/x86/kvm/vmx/vmx.c: vmx_set_msr
    """
    return vcpu._replace(fpstate=vcpu.fpstate._replace(xfd=value))


def xfd_by_kvm(host: HostProfile, vcpu: Vcpu, value: int) -> Vcpu:
    """Return the vCPU with IA32_XFD; the first value that is not zero ends its interception.

    From then on KVM intercepts #NM, with the defect only where that was written: in the VMCS of the
    nested guest or in L1's.

    :see: arch/x86/kvm/vmx/vmx.c: vmx_set_msr, vmx_update_exception_bitmap
    """
    written = with_xfd(vcpu, value)
    if not value:
        return written
    missed = False
    if vcpu.in_l2 and Behaviour.NM_OF_L1_MISSED in host.behaviours:
        missed = vcpu.nm_missed or not vcpu.xfd_passthrough
    return written._replace(xfd_passthrough=True, nm_missed=missed)


def _armed(host: HostProfile, vcpu: Vcpu, value: int, load: FpuLoad) -> Vcpu | None:
    if value & ~(vcpu.guest_xcr0 & DYNAMIC):
        return None
    written = xfd_by_kvm(host, vcpu, value)
    keeps = _KEEPING[load] in host.behaviours
    return written if keeps else written._replace(fpstate=written.fpstate.without_armed())


def _written_one(machine: Machine, vcpu_name: str, written: Vcpu | None, rule: Rule) -> Step:
    if written is None:
        return Step(machine, Done(0), rule)
    return Step(machine.with_vcpu(vcpu_name, written), Done(1), rule)
