"""Whether the order of SET_CPUID2, SET_XCRS, SET_MSRS(XFD) and SET_XSAVE matters where it must not.

Every order of the three restore calls, SET_CPUID2 at every place and absent; by permission, XFD,
XSTATE_BV and XCR0.  Values are tried whether they are legal in that order or not: the model says
which are refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

from kvmprobe.scenarios.ops.cpuid import CheckXsave2, GetSupportedCpuid, SetCpuid2
from kvmprobe.scenarios.ops.lifecycle import CreateVcpu, CreateVm, MapHalt, OpenKvm
from kvmprobe.scenarios.ops.msrs import GetXfd, SetXfd
from kvmprobe.scenarios.ops.permission import RequestGuestPermission
from kvmprobe.scenarios.ops.run import RunUntilHalt
from kvmprobe.scenarios.ops.xcrs import GetXcrs, SetXcrs
from kvmprobe.scenarios.ops.xsave import GetXsave2, SetXsave
from kvmprobe.scenarios.orders import restore_orders
from kvmprobe.scenarios.scenario import Scenario, ScenarioStep
from kvmprobe.xstate.features import FPSSE, MPX, XTILE, XFeature

if TYPE_CHECKING:
    from kvmprobe.model.host import HostProfile
    from kvmprobe.scenarios.ops import Op

OBSERVERS: tuple[Op, ...] = (GetXsave2(), GetXcrs(), GetXfd())
ORDERS = restore_orders(("xcrs", "msrs", "xsave"), "cpuid")
_X87, _AVX = 0x1, 0x7


@dataclass(frozen=True, slots=True)
class Choice:
    """One value of one axis, and the part of the id that names it."""

    part: str
    value: int
    needs_amx: bool = False


PERMISSIONS = (
    Choice("perm-none", 0),
    Choice("perm-granted", 1, needs_amx=True),
    Choice("perm-late", 2, needs_amx=True),
)
XFDS = (
    Choice("xfd-zero", 0),
    Choice("xfd-armed", XFeature.XTILE_DATA.bit, needs_amx=True),
)


def _components(host: HostProfile) -> tuple[Choice, ...]:
    return (
        Choice("bv-zero", 0),
        Choice("bv-legacy", FPSSE),
        # MPX, which some hosts still have, has no pattern.
        Choice("bv-notiles", host.kvm_xcr0 & ~XTILE & ~MPX),
        Choice("bv-tiles", XTILE, needs_amx=True),
    )


def _xcr0s(host: HostProfile) -> tuple[Choice, ...]:
    """XCR0 with everything supported goes without a part of its own."""
    return (Choice("", host.kvm_xcr0), Choice("xcr0-1", _X87), Choice("xcr0-7", _AVX))


def scenarios(host: HostProfile) -> tuple[Scenario, ...]:
    """Return the matrix, orders first."""
    axes = (PERMISSIONS, XFDS, _components(host), _xcr0s(host))
    return tuple(_scenario(order, *choices) for order, choices in product(ORDERS, product(*axes)))


def _scenario(
    order: tuple[str, ...], permission: Choice, xfd: Choice, components: Choice, xcr0: Choice
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
        id=f"restore.{row}.{column}",
        row=row,
        column=column,
        steps=(*_set_up(permission.part), *restored, ScenarioStep(RunUntilHalt(), OBSERVERS)),
        needs_amx=any(choice.needs_amx for choice in choices),
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
