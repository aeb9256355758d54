"""Short sequences that tell whether a kernel has a behaviour, and stop before any crash.

A kernel has it if only the model with the behaviour predicts the probe's trace.  Their order
matters: a probe is judged with the behaviours found before it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.model.behaviours import Behaviour
from kvmprobe.scenarios.ops.cpuid import GetSupportedCpuid, SetCpuid2
from kvmprobe.scenarios.ops.lifecycle import CreateVcpu, CreateVm, OpenKvm
from kvmprobe.scenarios.ops.msrs import SetXfd
from kvmprobe.scenarios.ops.permission import RequestGuestPermission
from kvmprobe.scenarios.ops.xsave import GetXsave2, SetXsave
from kvmprobe.scenarios.scenario import AMX, ANYWHERE, Needs, Scenario, ScenarioStep
from kvmprobe.xstate.features import FPSSE, XTILE, XFeature

if TYPE_CHECKING:
    from kvmprobe.scenarios.ops import Op

_ASK = RequestGuestPermission(XFeature.XTILE_DATA)
_VCPU: tuple[Op, ...] = (OpenKvm(), CreateVm(), CreateVcpu())
_AMX_VCPU: tuple[Op, ...] = (_ASK, *_VCPU, GetSupportedCpuid())
_WITH_TILES: tuple[Op, ...] = (*_AMX_VCPU, SetCpuid2())
_ARM = SetXfd(XFeature.XTILE_DATA.bit)
_RESTORE = SetXsave(XTILE)


def _probe(behaviour: Behaviour, needs: Needs, *ops: Op) -> Scenario:
    steps = tuple(ScenarioStep(op) for op in ops)
    return Scenario(f"probe.{behaviour.name}", "probe", behaviour.name, steps, needs)


_ALL = (
    _probe(Behaviour.KNOWS_APX, ANYWHERE, RequestGuestPermission(XFeature.APX)),
    _probe(Behaviour.XTILE_CFG_ADVERTISED_ALONE, AMX, OpenKvm(), GetSupportedCpuid()),
    _probe(Behaviour.SET_XSAVE_KEEPS_XFD_ARMED, AMX, *_WITH_TILES, _ARM, _RESTORE, GetXsave2()),
    _probe(Behaviour.XFD_WRITE_KEEPS_XSTATE_BV, AMX, *_WITH_TILES, _RESTORE, _ARM, GetXsave2()),
    _probe(
        Behaviour.CPUID_ENABLE_DISCARDS_FPSTATE,
        AMX,
        *_AMX_VCPU,
        SetXsave(FPSSE),
        SetCpuid2(),
        GetXsave2(),
    ),
)
PROBES: dict[Behaviour, Scenario] = {Behaviour[probe.column]: probe for probe in _ALL}
