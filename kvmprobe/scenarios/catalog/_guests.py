"""How scenarios with the guest payload begin, and the steps they share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmprobe.model.control import Cr0, Cr4
from kvmprobe.model.guest import PAYLOAD_CR0, PAYLOAD_CR4
from kvmprobe.model.guest_vector import VectorFile
from kvmprobe.scenarios.calls import VCPU
from kvmprobe.scenarios.cpuid_tables import Table
from kvmprobe.scenarios.ops.cpuid import SetCpuid2
from kvmprobe.scenarios.ops.guest import GuestExecute, MapPayload
from kvmprobe.scenarios.ops.guest_control import GuestWriteCr0, GuestWriteCr4
from kvmprobe.scenarios.ops.guest_vector import GuestStore
from kvmprobe.scenarios.ops.lifecycle import CreateVcpu, CreateVm, OpenKvm
from kvmprobe.scenarios.ops.msrs import GetXfd
from kvmprobe.scenarios.ops.permission import RequestGuestPermission
from kvmprobe.scenarios.ops.xcrs import GetXcrs
from kvmprobe.scenarios.ops.xsave import GetXsave2
from kvmprobe.scenarios.scenario import Need, Needs, Scenario, ScenarioStep
from kvmprobe.xstate.features import AVX512, MPX, XTILE, XFeature

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kvmprobe.abi.payload import PayloadOp
    from kvmprobe.model.host import HostProfile
    from kvmprobe.scenarios.ops import Op

DATA = XFeature.XTILE_DATA.bit
LEGACY, AVX = 0x3, 0x7
AVX512_ALL = AVX | AVX512
OBSERVERS: tuple[Op, ...] = (GetXsave2(), GetXcrs(), GetXfd())
ASK = RequestGuestPermission(XFeature.XTILE_DATA)
USE_XSAVE = GuestWriteCr4(PAYLOAD_CR4 | Cr4.OSXSAVE.bit)
USE_XSAVE_AND_PKRU = GuestWriteCr4(PAYLOAD_CR4 | Cr4.OSXSAVE.bit | Cr4.PKE.bit)
TASK_SWITCHED = GuestWriteCr0(PAYLOAD_CR0 | Cr0.TS)
NO_FPU = GuestWriteCr0(PAYLOAD_CR0 | Cr0.EM)
PLAIN_CR0 = GuestWriteCr0(PAYLOAD_CR0)


@dataclass(frozen=True, slots=True)
class Start:
    """A vCPU with the payload and this CPUID, and its name in the id."""

    part: str
    table: Table
    needs: Needs = frozenset({Need.GUEST_CODE})

    @property
    def ops(self) -> tuple[Op, ...]:
        """Return the steps before the first instruction."""
        asks = (ASK,) if Need.AMX in self.needs else ()
        return (*asks, OpenKvm(), CreateVm(), MapPayload(), CreateVcpu(), SetCpuid2(self.table))


_WITH_AMX = frozenset({Need.GUEST_CODE, Need.AMX})
TILES = Start("tiles", Table.FULL, _WITH_AMX)
PLAIN = Start("plain", Table.NO_AMX)
CET_GUEST = Start("cet", Table.NO_AMX, frozenset({Need.GUEST_CODE, Need.CET}))


def amx(part: str, table: Table) -> Start:
    """Return a start with guest permission and another table."""
    return Start(part, table, _WITH_AMX)


def scenario(
    row: str, start: Start, ops: Iterable[Op], see: tuple[Op, ...] = OBSERVERS
) -> Scenario:
    """Return a scenario that reads the state with ioctls after each op."""
    return Scenario(
        id=f"guest.{row}.{start.part}",
        row=row,
        column=start.part,
        steps=(
            *(ScenarioStep(op) for op in start.ops),
            *(ScenarioStep(op, see) for op in ops),
        ),
        needs=start.needs,
    )


def all_of(host: HostProfile, start: Start) -> int:
    """Return the components with a pattern that a guest with this start can enable."""
    every = host.kvm_xcr0 & ~MPX
    return every if Need.AMX in start.needs else every & ~XTILE


def run(*codes: PayloadOp) -> tuple[Op, ...]:
    """Return instructions without operands, in this order."""
    return tuple(GuestExecute(code) for code in codes)


def stores(vcpu: str = VCPU) -> tuple[Op, ...]:
    """Return the stores of every vector register that the payload can make."""
    return tuple(GuestStore(file, vcpu) for file in VectorFile)
