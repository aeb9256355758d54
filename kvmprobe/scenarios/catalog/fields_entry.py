"""States that KVM_SET_SREGS accepts and no CPU enters, and what a failed entry leaves behind.

Each is followed by the registers as they were: the vCPU must then run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.scenarios.catalog._starts import PLAIN, scenario
from kvmprobe.scenarios.need import GUEST_CODE
from kvmprobe.scenarios.ops.fpu import GetFpu
from kvmprobe.scenarios.ops.run import RunUntilHalt
from kvmprobe.scenarios.ops.sregs import GetSregs, GetSregs2, SetSregs
from kvmprobe.scenarios.ops.vcpu_state import GetDebugregs, GetRegs
from kvmprobe.scenarios.ops.xsave import GetXsave2
from kvmprobe.scenarios.scenario import ScenarioStep

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kvmprobe.scenarios.op_fields import Values
    from kvmprobe.scenarios.ops import Op
    from kvmprobe.scenarios.scenario import Scenario

_NOT_CANONICAL = 1 << 62
# SDM vol.3 §27.3.1.1 to §27.3.1.3: checks on control registers, on segment registers and on
# descriptor-table registers of the guest.
_STATES: Mapping[str, tuple[Values, ...]] = {
    "tr": (
        (("tr_type", 0),),
        (("tr_type", 1),),
        (("tr_present", 0),),
        (("tr_s", 1),),
        (("tr_unusable", 1),),
        (("tr_selector", 4),),
    ),
    "cs": ((("cs_type", 0),), (("cs_s", 0),), (("cs_present", 0),), (("cs_dpl", 3),)),
    "ss": ((("ss_type", 0),), (("ss_dpl", 3),)),
    "ldt": ((("ldt_type", 0),),),
    "tables": ((("gdt_base", _NOT_CANONICAL),), (("idt_base", _NOT_CANONICAL),)),
    "cr3": ((("cr3", 1 << 60),),),
}
# Not GetSregs, whose last output is what the SET ioctl writes back.
_READS: tuple[Op, ...] = (GetSregs2(), GetRegs(), GetDebugregs(), GetXsave2(), GetFpu())


def _tried(members: Values) -> Iterator[ScenarioStep]:
    yield ScenarioStep(SetSregs(0, members), _READS)
    yield ScenarioStep(RunUntilHalt(), _READS)
    yield ScenarioStep(SetSregs(0))
    yield ScenarioStep(RunUntilHalt())


def scenarios() -> tuple[Scenario, ...]:
    """Return a scenario for each register."""
    return tuple(
        scenario(
            "fields",
            f"entry-{name}",
            PLAIN,
            ScenarioStep(GetSregs(), _READS),
            *(step for members in states for step in _tried(members)),
            needs=GUEST_CODE,
        )
        for name, states in _STATES.items()
    )
