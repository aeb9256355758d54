"""Whether the order of SET_CPUID2, SET_XCRS, SET_MSRS(XFD) and SET_XSAVE matters where it must not.

Every order of the three restore calls, with SET_CPUID2 at every place and without it, for each
permission, XFD, XSTATE_BV and XCR0.  Values may be illegal in an order: the model says which are
refused.  Each scenario ends with a KVM_RUN.  *kick* scenarios write XFD_ERR before it, and call
KVM_RUN with ``immediate_exit``, which returns at once but loads and saves the guest FPU.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain, product
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
    """One value of one axis, and its name in the id.

    :ivar steps: the calls; all scenarios with this choice share them
    """

    part: str
    steps: tuple[ScenarioStep, ...]
    needs: Needs = ANYWHERE


@dataclass(frozen=True, slots=True)
class Ending:
    """How a scenario enters the guest, and the family that is named after it."""

    family: str
    steps: tuple[ScenarioStep, ...]


def _observed(op: Op) -> tuple[ScenarioStep, ...]:
    return (ScenarioStep(op, OBSERVERS),)


_RUN = Ending("restore", _observed(RunUntilHalt()))
_KICK = Ending(
    "kick",
    (
        *_observed(SetXfdErr(XFeature.XTILE_DATA.bit)),
        *_observed(RunImmediateExit()),
        *_RUN.steps,
    ),
)
_CPUID = _observed(SetCpuid2())
_OPEN = (ScenarioStep(OpenKvm()),)
_ASK = (ScenarioStep(RequestGuestPermission(XFeature.XTILE_DATA)),)
_VCPU = (ScenarioStep(CreateVm()), ScenarioStep(MapHalt()), *_observed(CreateVcpu()))
_TABLE_AND_SIZE = (ScenarioStep(GetSupportedCpuid()), ScenarioStep(CheckXsave2()))
PERMISSIONS = (
    Choice("perm-none", (*_OPEN, *_VCPU, *_TABLE_AND_SIZE)),
    Choice("perm-granted", (*_OPEN, *_ASK, *_VCPU, *_TABLE_AND_SIZE), needs=AMX),
    Choice("perm-late", (*_OPEN, *_VCPU, *_ASK, *_TABLE_AND_SIZE), needs=AMX),
)
XFDS = (
    Choice("xfd-zero", _observed(SetXfd(0))),
    Choice("xfd-armed", _observed(SetXfd(XFeature.XTILE_DATA.bit)), needs=AMX),
)


def _components(host: HostProfile) -> tuple[Choice, ...]:
    return (
        Choice("bv-zero", _observed(SetXsave(0))),
        Choice("bv-legacy", _observed(SetXsave(FPSSE))),
        # MPX, which some hosts still have, has no pattern.
        Choice("bv-notiles", _observed(SetXsave(host.kvm_xcr0 & ~XTILE & ~MPX))),
        Choice("bv-tiles", _observed(SetXsave(XTILE)), needs=AMX),
    )


def _xcr0s(host: HostProfile) -> tuple[Choice, ...]:
    """Return values of XCR0; all that is supported has no part in the id."""
    values = {"": host.kvm_xcr0, "xcr0-1": _X87, "xcr0-7": _AVX}
    return tuple(Choice(part, _observed(SetXcrs(value))) for part, value in values.items())


def scenarios(host: HostProfile) -> tuple[Scenario, ...]:
    """Return the matrix, then its part with a kick; orders vary slowest."""
    components, xcr0s = _components(host), _xcr0s(host)
    everything = product(ORDERS, PERMISSIONS, XFDS, components, xcr0s)
    usual_orders = [order for order in ORDERS if order[0] == "cpuid"]
    kicked = product(usual_orders, PERMISSIONS[:2], XFDS, components, xcr0s[:1])
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
    column = ".".join([choice.part for choice in choices if choice.part])
    calls = {"cpuid": _CPUID, "xcrs": xcr0.steps, "msrs": xfd.steps, "xsave": components.steps}
    restored = chain.from_iterable([calls[name] for name in order])
    return Scenario(
        id=f"{ending.family}.{row}.{column}",
        row=row,
        column=column,
        steps=(*permission.steps, *restored, *ending.steps),
        needs=ANYWHERE.union(*[choice.needs for choice in choices]),
    )
