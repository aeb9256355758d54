"""Short sequences that tell defects from correct behaviour, and stop before any crash.

Each ends with GET_XSAVE2; a kernel with the defect still shows XSTATE_BV[18] there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.model.behaviours import Behaviour
from kvmprobe.scenarios.ops.cpuid import GetSupportedCpuid, SetCpuid2
from kvmprobe.scenarios.ops.lifecycle import CreateVcpu, CreateVm, OpenKvm
from kvmprobe.scenarios.ops.msrs import SetXfd
from kvmprobe.scenarios.ops.permission import RequestGuestPermission
from kvmprobe.scenarios.ops.xsave import GetXsave2, SetXsave
from kvmprobe.scenarios.scenario import Scenario, ScenarioStep
from kvmprobe.xstate.features import XTILE, XFeature

if TYPE_CHECKING:
    from kvmprobe.scenarios.ops import Op

_SET_UP: tuple[Op, ...] = (
    OpenKvm(),
    RequestGuestPermission(XFeature.XTILE_DATA),
    CreateVm(),
    CreateVcpu(),
    GetSupportedCpuid(),
    SetCpuid2(),
)
_ARM = SetXfd(XFeature.XTILE_DATA.bit)
_RESTORE = SetXsave(XTILE)


def _probe(behaviour: Behaviour, *ops: Op) -> Scenario:
    steps = tuple(ScenarioStep(op) for op in (*_SET_UP, *ops, GetXsave2()))
    return Scenario(f"probe.{behaviour.name}", "probe", behaviour.name, steps, needs_amx=True)


PROBES: dict[Behaviour, Scenario] = {
    behaviour: _probe(behaviour, *ops)
    for behaviour, ops in {
        Behaviour.SET_XSAVE_KEEPS_XFD_ARMED: (_ARM, _RESTORE),
        Behaviour.XFD_WRITE_KEEPS_XSTATE_BV: (_RESTORE, _ARM),
    }.items()
}
