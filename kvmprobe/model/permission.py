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
from kvmprobe.xstate.features import XFeature

if TYPE_CHECKING:
    from kvmprobe.model.machine import Machine

XCOMP_FIELD = "XCOMP"
_XFEATURE_MAX = XFeature.APX
_XFEATURE_MAX_WITH_APX = XFeature.APX + 1


def request_guest_permission(machine: Machine, feature_nr: int, by: str = MAIN) -> Step:
    """ARCH_REQ_XCOMP_GUEST_PERM(feature_nr): frozen once the process has created a vCPU.

    :see: arch/x86/kernel/fpu/xstate.c: xstate_request_perm, __xstate_request_perm
    """
    rule = "ARCH_REQ_XCOMP_GUEST_PERM (INV-2, INV-3, INV-4): xstate.c: __xstate_request_perm"
    process = machine.process(by)
    answer = _without_change(machine, process.guest_perm, feature_nr)
    if answer is None and process.perm_locked:
        answer = Failed(errno.EBUSY)
    if answer is not None:
        return Step(machine, answer, rule)
    granted = process.but(guest_perm=process.guest_perm | 1 << feature_nr)
    return Step(machine.with_process(by, granted), Done(), rule)


def request_host_permission(machine: Machine, feature_nr: int, by: str = MAIN) -> Step:
    """ARCH_REQ_XCOMP_PERM(feature_nr): each thread's signal stack must hold the larger frame.

    :see: arch/x86/kernel/fpu/xstate.c: xstate_request_perm, __xstate_request_perm;
        arch/x86/kernel/fpu/xstate.c: validate_sigaltstack
    """
    rule = "ARCH_REQ_XCOMP_PERM (INV-2, INV-3, INV-5, INV-6): xstate.c: __xstate_request_perm"
    process = machine.process(by)
    answer = _without_change(machine, process.host_perm, feature_nr)
    if answer is None:
        answer = _stack_too_small(machine, process.host_perm | 1 << feature_nr, by)
    if answer is not None:
        return Step(machine, answer, rule)
    granted = process.but(host_perm=process.host_perm | 1 << feature_nr)
    return Step(machine.with_process(by, granted), Done(), rule)


def _without_change(machine: Machine, permitted: int, feature_nr: int) -> Outcome | None:
    knows_apx = Behaviour.KNOWS_APX in machine.host.behaviours
    limit = _XFEATURE_MAX_WITH_APX if knows_apx else _XFEATURE_MAX
    if feature_nr >= limit:
        return Failed(errno.EINVAL)
    is_dynamic = feature_nr == XFeature.XTILE_DATA
    if not is_dynamic or not machine.host.user_features >> feature_nr & 1:
        return Failed(errno.EOPNOTSUPP)
    return Done() if permitted >> feature_nr & 1 else None


def _stack_too_small(machine: Machine, components: int, by: str) -> Outcome | None:
    least = frame_size(machine.host, components)
    threads = machine.threads(machine.tasks[by])
    stacks = [machine.altstacks[task] for task in threads if task in machine.altstacks]
    return Failed(errno.ENOSPC) if stacks and min(stacks) <= least else None


def get_supported(machine: Machine) -> Step:
    """ARCH_GET_XCOMP_SUPP: the same for everyone.

    :see: arch/x86/kernel/fpu/xstate.c: fpu_xstate_prctl
    """
    rule = "ARCH_GET_XCOMP_SUPP (INV-1, INV-7): xstate.c: fpu_xstate_prctl"
    return Step(machine, Done(fields={XCOMP_FIELD: machine.host.user_features}), rule)


def get_host_permission(machine: Machine, by: str = MAIN) -> Step:
    """ARCH_GET_XCOMP_PERM: no supervisor component, no lock.

    :see: arch/x86/kernel/fpu/xstate.c: xstate_get_host_group_perm
    """
    rule = "ARCH_GET_XCOMP_PERM (INV-1, INV-2, INV-7): xstate.c: xstate_get_host_group_perm"
    return Step(machine, Done(fields={XCOMP_FIELD: machine.process(by).host_perm}), rule)


def get_guest_permission(machine: Machine, by: str = MAIN) -> Step:
    """ARCH_GET_XCOMP_GUEST_PERM: no supervisor component, no lock.

    :see: arch/x86/kernel/fpu/xstate.c: xstate_get_guest_group_perm
    """
    rule = "ARCH_GET_XCOMP_GUEST_PERM (INV-1, INV-2, INV-7): xstate.c: xstate_get_guest_group_perm"
    return Step(machine, Done(fields={XCOMP_FIELD: machine.process(by).guest_perm}), rule)


def get_to_nowhere(machine: Machine) -> Step:
    """ARCH_GET_XCOMP_* with a null pointer.

    :see: arch/x86/kernel/fpu/xstate.c: fpu_xstate_prctl
    """
    rule = "put_user to a bad address (contract 1): xstate.c: fpu_xstate_prctl"
    return Step(machine, Failed(errno.EFAULT), rule)


def unknown_option(machine: Machine) -> Step:
    """arch_prctl with an option that is none.

    :see: arch/x86/kernel/process.c: do_arch_prctl_common; fpu/xstate.c: fpu_xstate_prctl
    """
    rule = "an unknown option (contract 1): process.c: do_arch_prctl_common"
    return Step(machine, Failed(errno.EINVAL), rule)
