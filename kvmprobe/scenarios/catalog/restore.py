"""Whether the order of SET_CPUID2, SET_XCRS, SET_MSRS(XFD) and SET_XSAVE matters where it must not.

Every order of the three restore calls, with SET_CPUID2 at every place and without it, for each
permission, XFD, XSTATE_BV and XCR0.  Values may be illegal in an order: the model says which are
refused.  Each scenario ends with a KVM_RUN.  *kick* scenarios write XFD_ERR before it, and call
KVM_RUN with ``immediate_exit``, which returns at once but loads and saves the guest FPU.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

from kvmprobe.scenarios.ops.cpuid import CheckXsave2, GetSupportedCpuid, SetCpuid2
from kvmprobe.scenarios.ops.lifecycle import CreateVcpu, CreateVm, MapHalt, OpenKvm
from kvmprobe.scenarios.ops.msrs import GetXfd, SetXfd, SetXfdErr
from kvmprobe.scenarios.ops.permission import RequestGuestPermission
from kvmprobe.scenarios.ops.run import RunImmediateExit, RunUntilHalt
from kvmprobe.scenarios.ops.xcrs import GetXcrs, SetXcrs
from kvmprobe.scenarios.ops.xsave import GetXsave2, SetXsave
from kvmprobe.scenarios.orders import restore_orders
from kvmprobe.scenarios.scenario import AMX, ANYWHERE, Needs, Scenario, ScenarioStep
from kvmprobe.xstate.features import FPSSE, MPX, XTILE, XFeature

if TYPE_CHECKING:
    from kvmprobe.model.host import HostProfile
    from kvmprobe.scenarios.ops import Op

OBSERVERS: tuple[Op, ...] = (GetXsave2(), GetXcrs(), GetXfd())
ORDERS = restore_orders(("xcrs", "msrs", "xsave"), "cpuid")
_X87, _AVX = 0x1, 0x7


@dataclass(frozen=True, slots=True)
class Choice:
    """One value of one axis, and its name in the id."""

    part: str
    value: int
    needs: Needs = ANYWHERE


@dataclass(frozen=True, slots=True)
class Ending:
    """How a scenario enters the guest, and the family that is named after it."""

    family: str
    steps: tuple[ScenarioStep, ...]


_RUN = Ending("restore", (ScenarioStep(RunUntilHalt(), OBSERVERS),))
_KICK = Ending(
    "kick",
    (
        ScenarioStep(SetXfdErr(XFeature.XTILE_DATA.bit), OBSERVERS),
        ScenarioStep(RunImmediateExit(), OBSERVERS),
        *_RUN.steps,
    ),
)
PERMISSIONS = (
    Choice("perm-none", 0),
    Choice("perm-granted", 1, needs=AMX),
    Choice("perm-late", 2, needs=AMX),
)
XFDS = (
    Choice("xfd-zero", 0),
    Choice("xfd-armed", XFeature.XTILE_DATA.bit, needs=AMX),
)


def _components(host: HostProfile) -> tuple[Choice, ...]:
    return (
        Choice("bv-zero", 0),
        Choice("bv-legacy", FPSSE),
        # MPX, which some hosts still have, has no pattern.
        Choice("bv-notiles", host.kvm_xcr0 & ~XTILE & ~MPX),
        Choice("bv-tiles", XTILE, needs=AMX),
    )


def _xcr0s(host: HostProfile) -> tuple[Choice, ...]:
    """Return values of XCR0; all that is supported has no part in the id."""
    return (Choice("", host.kvm_xcr0), Choice("xcr0-1", _X87), Choice("xcr0-7", _AVX))


def scenarios(host: HostProfile) -> tuple[Scenario, ...]:
    """Return the matrix, then its part with a kick; orders vary slowest."""
    permissions, components, xcr0s = PERMISSIONS, _components(host), _xcr0s(host)
    everything = product(ORDERS, permissions, XFDS, components, xcr0s)
    usual_orders = [order for order in ORDERS if order[0] == "cpuid"]
    kicked = product(usual_orders, permissions[:2], XFDS, components, xcr0s[:1])
    return (
        *(_scenario(_RUN, *chosen) for chosen in everything),
        *(_scenario(_KICK, *chosen) for chosen in kicked),
    )


def _scenario(
    ending: Ending,
    order: tuple[str, ...],
    permission: Choice,
    xfd: Choice,
    components: Choice,
    xcr0: Choice,
) -> Scenario:
    choices = (permission, xfd, components, xcr0)
    row = "-".join(order)
    column = ".".join(choice.part for choice in choices if choice.part)
    calls: dict[str, Op] = {
        "cpuid": SetCpuid2(),
        "xcrs": SetXcrs(xcr0.value),
        "msrs": SetXfd(xfd.value),
        "xsave": SetXsave(components.value),
    }
    restored = tuple(ScenarioStep(calls[name], OBSERVERS) for name in order)
    return Scenario(
        id=f"{ending.family}.{row}.{column}",
        row=row,
        column=column,
        steps=(*_set_up(permission.part), *restored, *ending.steps),
        needs=ANYWHERE.union(*(choice.needs for choice in choices)),
    )


def _set_up(permission: str) -> tuple[ScenarioStep, ...]:
    ask = ScenarioStep(RequestGuestPermission(XFeature.XTILE_DATA))
    vcpu = (
        ScenarioStep(CreateVm()),
        ScenarioStep(MapHalt()),
        ScenarioStep(CreateVcpu(), OBSERVERS),
    )
    table = ScenarioStep(GetSupportedCpuid())
    size = ScenarioStep(CheckXsave2())
    match permission:
        case "perm-granted":
            return (ScenarioStep(OpenKvm()), ask, *vcpu, table, size)
        case "perm-late":
            return (ScenarioStep(OpenKvm()), *vcpu, ask, table, size)
        case _:
            return (ScenarioStep(OpenKvm()), *vcpu, table, size)
