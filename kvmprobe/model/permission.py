"""Guest permission for dynamic components (arch/x86/kernel/fpu/xstate.c: __xstate_request_perm).

Leaves out: 32-bit kernels, the sigaltstack check (host requests only).
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from kvmprobe.model.behaviours import Behaviour
from kvmprobe.model.machine import MAIN
from kvmprobe.model.outcome import Done, Failed, Outcome, Step
from kvmprobe.xstate.features import XFeature

if TYPE_CHECKING:
    from kvmprobe.model.machine import Machine, Process

_XFEATURE_MAX = XFeature.APX
_XFEATURE_MAX_WITH_APX = XFeature.APX + 1


def request_guest_permission(machine: Machine, feature_nr: int, by: str = MAIN) -> Step:
    """ARCH_REQ_XCOMP_GUEST_PERM(feature_nr).

    :see: arch/x86/kernel/fpu/xstate.c: xstate_request_perm, __xstate_request_perm
    """
    rule = "ARCH_REQ_XCOMP_GUEST_PERM (INV-2, INV-3, INV-4): xstate.c: __xstate_request_perm"
    process = machine.process(by)
    refusal = _refusal(machine, process, feature_nr)
    if refusal is not None:
        return Step(machine, refusal, rule)
    granted = process.but(guest_perm=process.guest_perm | 1 << feature_nr)
    return Step(machine.with_process(by, granted), Done(), rule)


def _refusal(machine: Machine, process: Process, feature_nr: int) -> Outcome | None:
    knows_apx = Behaviour.KNOWS_APX in machine.host.behaviours
    limit = _XFEATURE_MAX_WITH_APX if knows_apx else _XFEATURE_MAX
    if feature_nr >= limit:
        return Failed(errno.EINVAL)
    is_dynamic = feature_nr == XFeature.XTILE_DATA
    if not is_dynamic or not machine.host.user_features >> feature_nr & 1:
        return Failed(errno.EOPNOTSUPP)
    if process.guest_perm >> feature_nr & 1:
        return Done()
    if process.perm_locked:
        return Failed(errno.EBUSY)
    return None
