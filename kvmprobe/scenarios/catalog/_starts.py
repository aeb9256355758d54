"""How scenarios begin: a vCPU without CPUID, with CPUID, with tiles in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmprobe.scenarios.cpuid_tables import Table
from kvmprobe.scenarios.ops.cpuid import GetSupportedCpuid, SetCpuid2
from kvmprobe.scenarios.ops.lifecycle import CreateVcpu, CreateVm, MapHalt, OpenKvm
from kvmprobe.scenarios.ops.permission import RequestGuestPermission
from kvmprobe.scenarios.scenario import AMX, ANYWHERE, Needs, Scenario, ScenarioStep
from kvmprobe.xstate.features import XFeature

if TYPE_CHECKING:
    from kvmprobe.scenarios.ops import Op

ASK = RequestGuestPermission(XFeature.XTILE_DATA)
VCPU: tuple[Op, ...] = (OpenKvm(), CreateVm(), MapHalt(), CreateVcpu())
SUPPORTED: tuple[Op, ...] = (GetSupportedCpuid(), SetCpuid2())
# What KVM supports except AMX; a table without permission would differ between kernels.
NO_AMX: tuple[Op, ...] = (SetCpuid2(Table.NO_AMX),)


@dataclass(frozen=True, slots=True)
class Start:
    """The first ops of a scenario, and their name in the id."""

    part: str
    ops: tuple[Op, ...]
    needs: Needs = ANYWHERE

    @property
    def steps(self) -> tuple[ScenarioStep, ...]:
        """The ops as steps."""
        return tuple(ScenarioStep(op) for op in self.ops)


NO_CPUID = Start("no-cpuid", VCPU)
PLAIN = Start("cpuid", (*VCPU, *NO_AMX))
TILES = Start("tiles", (ASK, *VCPU, *SUPPORTED), AMX)
STARTS = (NO_CPUID, PLAIN, TILES)


def with_table(table: Table, needs: Needs = ANYWHERE) -> Start:
    """Return a vCPU with a variant of what KVM supports, after a permission request."""
    return Start(table.value, (ASK, *VCPU, SetCpuid2(table)), needs)


NO_SHSTK, NO_IBT, NO_CET = map(with_table, (Table.NO_SHSTK, Table.NO_IBT, Table.NO_CET))
# A guest whose CPUID claims every component but XTILE_DATA.
EVERY_COMPONENT = with_table(Table.ALL_BUT_TILE_DATA)
EMPTY, NO_XSAVE, NO_XSAVES, NO_XSS, NO_PKU, NO_XFD = map(
    with_table,
    (
        Table.EMPTY,
        Table.NO_XSAVE,
        Table.NO_XSAVES,
        Table.NO_XSS,
        Table.NO_PKU,
        Table.NO_XFD,
    ),
)
CFG_ALONE, DATA_ALONE = (
    with_table(table, AMX) for table in (Table.TILE_CFG_ALONE, Table.TILE_DATA_ALONE)
)


def scenario(
    family: str, row: str, start: Start, *steps: ScenarioStep, needs: Needs = ANYWHERE
) -> Scenario:
    """Return a scenario with this start."""
    return Scenario(
        id=f"{family}.{row}.{start.part}",
        row=row,
        column=start.part,
        steps=(*start.steps, *steps),
        needs=start.needs | needs,
    )
