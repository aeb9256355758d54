"""Permission for dynamic components, a process's own and its guests'.

Shaped like arch/x86/kernel/fpu/xstate.c: fpu_xstate_prctl.  Leaves out 32-bit kernels.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from kvmprobe.model.behaviours import Behaviour
from kvmprobe.model.machine import MAIN
from kvmprobe.model.outcome import Done, Failed, Outcome, Step
from kvmprobe.model.process import frame_size
from kvmprobe.model.rule import KernelFile, KernelSource, Rule
from kvmprobe.xstate.features import XFeature, has

if TYPE_CHECKING:
    from kvmprobe.model.machine import Machine

XCOMP_FIELD = "XCOMP"
_XFEATURE_MAX = XFeature.APX
_XFEATURE_MAX_WITH_APX = XFeature.APX + 1


REQUEST_GUEST_PERMISSION = Rule(
    "ARCH_REQ_XCOMP_GUEST_PERM grants a dynamic component until the first vCPU",
    ("INV-2", "INV-3", "INV-4"),
    (
        KernelSource(KernelFile.FPU_XSTATE, "__xstate_request_perm"),
        KernelSource(KernelFile.FPU_XSTATE, "xstate_request_perm"),
    ),
)


def request_guest_permission(machine: Machine, feature_nr: int, by: str = MAIN) -> Step:
    """ARCH_REQ_XCOMP_GUEST_PERM(feature_nr): frozen once the process has created a vCPU.

    :see: arch/x86/kernel/fpu/xstate.c: xstate_request_perm, __xstate_request_perm
    """
    process = machine.process(by)
    answer = _without_change(machine, process.guest_perm, feature_nr)
    if answer is None and process.perm_locked:
        answer = Failed(errno.EBUSY)
    if answer is not None:
        return Step(machine, answer, REQUEST_GUEST_PERMISSION)
    granted = process._replace(guest_perm=process.guest_perm | 1 << feature_nr)
    return Step(machine.with_process(by, granted), Done(), REQUEST_GUEST_PERMISSION)


REQUEST_HOST_PERMISSION = Rule(
    "ARCH_REQ_XCOMP_PERM grants a dynamic component if every signal stack holds the larger frame",
    ("INV-2", "INV-3", "INV-5", "INV-6"),
    (
        KernelSource(KernelFile.FPU_XSTATE, "__xstate_request_perm"),
        KernelSource(KernelFile.FPU_XSTATE, "xstate_request_perm"),
        KernelSource(KernelFile.FPU_XSTATE, "validate_sigaltstack"),
    ),
)


def request_host_permission(machine: Machine, feature_nr: int, by: str = MAIN) -> Step:
    """ARCH_REQ_XCOMP_PERM(feature_nr): each thread's signal stack must hold the larger frame.

    :see: arch/x86/kernel/fpu/xstate.c: xstate_request_perm, __xstate_request_perm;
        arch/x86/kernel/fpu/xstate.c: validate_sigaltstack
    """
    process = machine.process(by)
    answer = _without_change(machine, process.host_perm, feature_nr)
    if answer is None:
        answer = _stack_too_small(machine, process.host_perm | 1 << feature_nr, by)
    if answer is not None:
        return Step(machine, answer, REQUEST_HOST_PERMISSION)
    granted = process._replace(host_perm=process.host_perm | 1 << feature_nr)
    return Step(machine.with_process(by, granted), Done(), REQUEST_HOST_PERMISSION)


def _without_change(machine: Machine, permitted: int, feature_nr: int) -> Outcome | None:
    knows_apx = Behaviour.KNOWS_APX in machine.host.behaviours
    limit = _XFEATURE_MAX_WITH_APX if knows_apx else _XFEATURE_MAX
    if feature_nr >= limit:
        return Failed(errno.EINVAL)
    is_dynamic = feature_nr == XFeature.XTILE_DATA
    if not is_dynamic or not has(machine.host.user_features, feature_nr):
        return Failed(errno.EOPNOTSUPP)
    return Done() if has(permitted, feature_nr) else None


def _stack_too_small(machine: Machine, components: int, by: str) -> Outcome | None:
    least = frame_size(machine.host, components)
    threads = machine.threads(machine.tasks[by])
    stacks = [machine.altstacks[task] for task in threads if task in machine.altstacks]
    return Failed(errno.ENOSPC) if stacks and min(stacks) <= least else None


GET_SUPPORTED = Rule(
    "ARCH_GET_XCOMP_SUPP returns the user components of the host",
    ("INV-1", "INV-7"),
    (KernelSource(KernelFile.FPU_XSTATE, "fpu_xstate_prctl"),),
)


def get_supported(machine: Machine) -> Step:
    """ARCH_GET_XCOMP_SUPP: the same for everyone.

    :see: arch/x86/kernel/fpu/xstate.c: fpu_xstate_prctl
    """
    return Step(machine, Done(fields={XCOMP_FIELD: machine.host.user_features}), GET_SUPPORTED)


GET_HOST_PERMISSION = Rule(
    "ARCH_GET_XCOMP_PERM returns permission without supervisor components and lock",
    ("INV-1", "INV-2", "INV-7"),
    (KernelSource(KernelFile.FPU_XSTATE, "xstate_get_host_group_perm"),),
)


def get_host_permission(machine: Machine, by: str = MAIN) -> Step:
    """ARCH_GET_XCOMP_PERM: no supervisor component, no lock.

    :see: arch/x86/kernel/fpu/xstate.c: xstate_get_host_group_perm
    """
    return Step(
        machine, Done(fields={XCOMP_FIELD: machine.process(by).host_perm}), GET_HOST_PERMISSION
    )


GET_GUEST_PERMISSION = Rule(
    "ARCH_GET_XCOMP_GUEST_PERM returns permission without supervisor components and lock",
    ("INV-1", "INV-2", "INV-7"),
    (KernelSource(KernelFile.FPU_XSTATE, "xstate_get_guest_group_perm"),),
)


def get_guest_permission(machine: Machine, by: str = MAIN) -> Step:
    """ARCH_GET_XCOMP_GUEST_PERM: no supervisor component, no lock.

    :see: arch/x86/kernel/fpu/xstate.c: xstate_get_guest_group_perm
    """
    return Step(
        machine, Done(fields={XCOMP_FIELD: machine.process(by).guest_perm}), GET_GUEST_PERMISSION
    )


GET_TO_NOWHERE = Rule(
    "ARCH_GET_XCOMP_* writes to the address it was given, or fails with EFAULT",
    (),
    (KernelSource(KernelFile.FPU_XSTATE, "fpu_xstate_prctl"),),
    sections=("1",),
)


def get_to_nowhere(machine: Machine) -> Step:
    """ARCH_GET_XCOMP_* with a null pointer.

    :see: arch/x86/kernel/fpu/xstate.c: fpu_xstate_prctl
    """
    return Step(machine, Failed(errno.EFAULT), GET_TO_NOWHERE)


UNKNOWN_OPTION = Rule(
    "arch_prctl fails with EINVAL for an unknown option",
    (),
    (
        KernelSource(KernelFile.X86_PROCESS, "do_arch_prctl_common"),
        KernelSource(KernelFile.FPU_XSTATE, "fpu_xstate_prctl"),
    ),
    sections=("1",),
)


def unknown_option(machine: Machine) -> Step:
    """arch_prctl with an unknown option.

    :see: arch/x86/kernel/process.c: do_arch_prctl_common; fpu/xstate.c: fpu_xstate_prctl
    """
    return Step(machine, Failed(errno.EINVAL), UNKNOWN_OPTION)
