"""Images that KVM_SET_XSAVE sleeps for: the vCPU is loaded, and the calling thread switched out.

The image arrives before the call looks at the guest's state, so that what it does is as without
the sleep.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.scenarios.catalog._starts import PLAIN, TILES, scenario
from kvmprobe.scenarios.need import PRIVILEGE
from kvmprobe.scenarios.ops.msrs import SetXfd
from kvmprobe.scenarios.ops.run import RunImmediateExit, RunUntilHalt
from kvmprobe.scenarios.ops.xsave import GetXsave2, SetXsave, SetXsaveAsleep
from kvmprobe.scenarios.scenario import Scenario, ScenarioStep
from kvmprobe.xstate.features import DYNAMIC, FPSSE, XTILE, XFeature

if TYPE_CHECKING:
    from kvmprobe.model.host import HostProfile
    from kvmprobe.scenarios.ops import Op

_AVX = FPSSE | XFeature.YMM.bit
_ILLEGAL = 1 << 62


def _rows(components: int) -> dict[str, tuple[Op, ...]]:
    asleep, run = SetXsaveAsleep(components), RunUntilHalt()
    return {
        "first": (asleep, RunImmediateExit(), run),
        "after-run": (SetXsave(components), run, SetXsaveAsleep(FPSSE), run),
        "refused": (SetXsave(components), SetXsaveAsleep(_ILLEGAL), run),
    }


def scenarios(host: HostProfile) -> tuple[Scenario, ...]:  # noqa: ARG001
    """Return each case with and without tiles, and one with XFD armed meanwhile."""
    armed = {"armed": (SetXfd(DYNAMIC), SetXsaveAsleep(_AVX), SetXfd(0), RunUntilHalt())}
    starts = ((PLAIN, _rows(_AVX)), (TILES, _rows(_AVX | XTILE) | armed))
    return tuple(
        scenario(
            "asleep",
            row,
            start,
            *(ScenarioStep(op, (GetXsave2(),)) for op in ops),
            needs=PRIVILEGE,
        )
        for start, rows in starts
        for row, ops in rows.items()
    )
