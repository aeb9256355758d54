"""What KVM returns about itself on /dev/kvm and a VM (arch/x86/kvm/x86.c: kvm_arch_dev_ioctl)."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from kvmprobe.abi.numbers import KVM_X86_XCOMP_GUEST_SUPP, KvmCap, Msr
from kvmprobe.model.cpuid import permitted_xcr0
from kvmprobe.model.machine import MAIN
from kvmprobe.model.outcome import Done, Failed, Outcome, Step
from kvmprobe.model.process import denied
from kvmprobe.model.rule import KernelFile, KernelSource, Rule
from kvmprobe.xstate.cpuid import LEAF_XSTATE, XFD_BIT

if TYPE_CHECKING:
    from kvmprobe.model.host import HostProfile
    from kvmprobe.model.machine import Machine

VALUE_FIELD = "XCOMP_GUEST_SUPP"
COUNT_FIELD = "entries"
XSTATE_LEAVES_FIELD = "entries of leaves 0xD, 0x1D, 0x1E"
LISTED_MSRS = {
    "IA32_XFD listed": Msr.IA32_XFD,
    "IA32_XFD_ERR listed": Msr.IA32_XFD_ERR,
    "IA32_XSS listed": Msr.IA32_XSS,
}
_XCOMP_GROUP = 0
# Leaves 0, 1 and 7: cpuid.c: __do_cpuid_func_emulated
_EMULATED_LEAVES = 3


CHECK_EXTENSION = Rule(
    "KVM_CHECK_EXTENSION returns what KVM offers; KVM_CAP_XSAVE2 follows the caller's permission",
    ("INV-8",),
    (KernelSource(KernelFile.KVM_X86, "kvm_vm_ioctl_check_extension"),),
)


def check_extension(machine: Machine, cap: KvmCap, on: str, by: str = MAIN) -> Step:
    """KVM_CHECK_EXTENSION on /dev/kvm or a VM: only KVM_CAP_XSAVE2 depends on permission.

    :see: arch/x86/kvm/x86.c: kvm_vm_ioctl_check_extension
    """
    value = 1
    if cap is KvmCap.XSAVE2:
        value = machine.host.uabi_size(permitted_xcr0(machine, by))
    return Step(machine, denied(machine, on, by) or Done(value), CHECK_EXTENSION)


HAS_DEVICE_ATTR = Rule(
    "XCOMP_GUEST_SUPP is the only device attribute of /dev/kvm",
    ("INV-9",),
    (KernelSource(KernelFile.KVM_X86, "kvm_x86_dev_has_attr"),),
)


def has_device_attr(machine: Machine, group: int, attr: int) -> Step:
    """KVM_HAS_DEVICE_ATTR on /dev/kvm; the address is not looked at.

    :see: arch/x86/kvm/x86.c: kvm_x86_dev_has_attr
    """
    return Step(machine, _no_attribute(group, attr) or Done(), HAS_DEVICE_ATTR)


GET_DEVICE_ATTR = Rule(
    "XCOMP_GUEST_SUPP is constant",
    ("INV-9",),
    (KernelSource(KernelFile.KVM_X86, "kvm_x86_dev_get_attr"),),
)


def get_device_attr(machine: Machine, group: int, attr: int) -> Step:
    """KVM_GET_DEVICE_ATTR on /dev/kvm: all that KVM can give guests, whatever the permission.

    :see: arch/x86/kvm/x86.c: kvm_x86_dev_get_attr
    """
    value = Done(fields={VALUE_FIELD: machine.host.kvm_xcr0})
    return Step(machine, _no_attribute(group, attr) or value, GET_DEVICE_ATTR)


GET_DEVICE_ATTR_TO_NOWHERE = Rule(
    "KVM_GET_DEVICE_ATTR looks up the attribute before it writes to the address",
    (),
    (KernelSource(KernelFile.KVM_X86, "kvm_x86_dev_get_attr"),),
    sections=("2",),
)


def get_device_attr_to_nowhere(machine: Machine, group: int, attr: int) -> Step:
    """KVM_GET_DEVICE_ATTR with a null address: the attribute is looked for first.

    :see: arch/x86/kvm/x86.c: kvm_x86_dev_get_attr
    """
    return Step(
        machine, _no_attribute(group, attr) or Failed(errno.EFAULT), GET_DEVICE_ATTR_TO_NOWHERE
    )


def _no_attribute(group: int, attr: int) -> Outcome | None:
    if (group, attr) == (_XCOMP_GROUP, KVM_X86_XCOMP_GUEST_SUPP):
        return None
    return Failed(errno.ENXIO)


GET_MSR_INDEX_LIST = Rule(
    "KVM_GET_MSR_INDEX_LIST has the MSRs that KVM supports",
    ("INV-27",),
    (KernelSource(KernelFile.KVM_X86, "kvm_probe_msr_to_save"),),
)


def get_msr_index_list(machine: Machine) -> Step:
    """KVM_GET_MSR_INDEX_LIST: XFD and XFD_ERR if KVM knows XFD, XSS if a guest's can be non-zero.

    :see: arch/x86/kvm/x86.c: kvm_probe_msr_to_save
    """
    host = machine.host
    xfd, xss = int(_supports_xfd(host)), int(host.kvm_xss != 0)
    listed = dict(zip(LISTED_MSRS, (xfd, xfd, xss), strict=True))
    return Step(machine, Done(fields={COUNT_FIELD: len(host.msrs), **listed}), GET_MSR_INDEX_LIST)


def _supports_xfd(host: HostProfile) -> bool:
    return bool(host.supported.at(LEAF_XSTATE, 1).eax & 1 << XFD_BIT)


GET_MSR_INDEX_LIST_SHORT = Rule(
    "KVM_GET_MSR_INDEX_LIST fails with E2BIG and the count that is needed",
    (),
    (KernelSource(KernelFile.KVM_X86, "kvm_arch_dev_ioctl"),),
    sections=("5",),
)


def get_msr_index_list_short(machine: Machine, room: int) -> Step:
    """KVM_GET_MSR_INDEX_LIST without room for all: E2BIG, and how many there are.

    :see: arch/x86/kvm/x86.c: kvm_arch_dev_ioctl, KVM_GET_MSR_INDEX_LIST
    """
    needed = len(machine.host.msrs)
    if room >= needed:
        return Step(machine, Done(fields={COUNT_FIELD: needed}), GET_MSR_INDEX_LIST_SHORT)
    return Step(machine, Failed(errno.E2BIG, {COUNT_FIELD: needed}), GET_MSR_INDEX_LIST_SHORT)


GET_EMULATED_CPUID = Rule(
    "KVM_GET_EMULATED_CPUID has no XSTATE leaf",
    (),
    (
        KernelSource(KernelFile.KVM_CPUID, "__do_cpuid_func_emulated"),
        KernelSource(KernelFile.KVM_CPUID, "kvm_dev_ioctl_get_cpuid"),
    ),
    sections=("2",),
)


def get_emulated_cpuid(machine: Machine, room: int) -> Step:
    """KVM_GET_EMULATED_CPUID: nothing of XSTATE is emulated.

    :see: arch/x86/kvm/cpuid.c: __do_cpuid_func_emulated, kvm_dev_ioctl_get_cpuid
    """
    # KERNEL: it asks for room before each function, also before one that has no entry.
    if room <= _EMULATED_LEAVES:
        return Step(machine, Failed(errno.E2BIG, {COUNT_FIELD: room}), GET_EMULATED_CPUID)
    fields = {COUNT_FIELD: _EMULATED_LEAVES, XSTATE_LEAVES_FIELD: 0}
    return Step(machine, Done(fields=fields), GET_EMULATED_CPUID)


GET_EMULATED_CPUID_PADDED = Rule(
    "KVM_GET_EMULATED_CPUID checks that padding is zero before it looks at room",
    (),
    (KernelSource(KernelFile.KVM_CPUID, "sanity_check_entries"),),
    sections=("2",),
)


def get_emulated_cpuid_padded(machine: Machine, room: int) -> Step:
    """KVM_GET_EMULATED_CPUID with padding that is not zero, in the entries if there are any.

    :see: arch/x86/kvm/cpuid.c: sanity_check_entries
    """
    number = errno.EINVAL if room else errno.E2BIG
    return Step(machine, Failed(number, {COUNT_FIELD: room}), GET_EMULATED_CPUID_PADDED)


GET_SUPPORTED_CPUID_SHORT = Rule(
    "KVM_GET_SUPPORTED_CPUID fails with E2BIG and no count",
    (),
    (KernelSource(KernelFile.KVM_CPUID, "kvm_dev_ioctl_get_cpuid"),),
    sections=("2",),
)


def get_supported_cpuid_short(machine: Machine, room: int) -> Step:
    """KVM_GET_SUPPORTED_CPUID without room for even the leaves that every table has.

    Padding is not looked at.

    :see: arch/x86/kvm/cpuid.c: kvm_dev_ioctl_get_cpuid
    """
    return Step(machine, Failed(errno.E2BIG, {COUNT_FIELD: room}), GET_SUPPORTED_CPUID_SHORT)


IOCTL_TO_NOWHERE = Rule(
    "an ioctl on the VM of another memory fails with EIO, otherwise a bad pointer with EFAULT",
    ("INV-41",),
    (
        KernelSource(KernelFile.KVM_MAIN, "kvm_vm_ioctl"),
        KernelSource(KernelFile.KVM_MAIN, "kvm_vcpu_ioctl"),
        KernelSource(KernelFile.KVM_X86, "kvm_arch_dev_ioctl"),
    ),
)


def ioctl_to_nowhere(machine: Machine, on: str, by: str = MAIN) -> Step:
    """Make an ioctl that reads or writes memory, with a null pointer; who may make it comes first.

    :see: virt/kvm/kvm_main.c: kvm_vm_ioctl, kvm_vcpu_ioctl; arch/x86/kvm/x86.c: kvm_arch_dev_ioctl
    """
    return Step(machine, denied(machine, on, by) or Failed(errno.EFAULT), IOCTL_TO_NOWHERE)
