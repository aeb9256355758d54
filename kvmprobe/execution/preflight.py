"""From a worker's facts to the model's host profile, and to what is testable here."""

from __future__ import annotations

import errno
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from kvmprobe.errors import Unavailable, errno_name
from kvmprobe.execution.driver import Request
from kvmprobe.execution.lockstep import divergences
from kvmprobe.model.behaviours import DEFECTS, Behaviour, Behaviours
from kvmprobe.model.host import HostProfile
from kvmprobe.scenarios.calls import unpack
from kvmprobe.scenarios.catalog.behaviour_probes import PROBES
from kvmprobe.xstate.cpuid import CpuidTable
from kvmprobe.xstate.features import FPSSE, XFeature, names
from kvmprobe.xstate.image import xstate_bv_of
from kvmprobe.xstate.layout import Component, Layout

if TYPE_CHECKING:
    from kvmprobe.execution.driver import Driver
    from kvmprobe.results.trace import Trace
    from kvmprobe.scenarios.scenario import Scenario

CAP_XSAVE2_SINCE = "5.17"


@dataclass(frozen=True, slots=True)
class Preflight:
    """One target, probed.

    :ivar undetermined: defects that the probes could not tell present or absent
    """

    facts: dict[str, Any]
    profile: HostProfile
    undetermined: Behaviours

    @property
    def suspected(self) -> Behaviours:
        """Defects that have to be reckoned with."""
        return (self.profile.behaviours & DEFECTS) | self.undetermined


def examine(driver: Driver) -> Preflight:
    """Probe the target behind a driver.

    :raises Unavailable: ``no_kvm``, ``no_kvm_permission``, ``old_kvm`` or ``no_xsave``
    """
    facts = driver.facts()
    if facts["kvm"] is None:
        reason = facts["kvm_unavailable"]
        raise Unavailable(reason["code"], reason["message"])
    profile = profile_of(facts)
    found, undetermined = _behaviours(driver, facts, profile)
    return Preflight(facts, replace(profile, behaviours=found), undetermined)


def profile_of(facts: dict[str, Any]) -> HostProfile:
    """Return the model's view of the facts, behaviours aside.

    :raises Unavailable: KVM here has no XSAVE2, or the host no XSAVE
    """
    cpu, kvm, xcomp = facts["cpu"], facts["kvm"], facts["xcomp"]
    if not kvm["cap_xsave2"]:
        raise Unavailable(
            "old_kvm",
            f"KVM_CHECK_EXTENSION(KVM_CAP_XSAVE2) returned 0 on {facts['kernel']['release']}: "
            f"KVM older than {CAP_XSAVE2_SINCE} cannot tell guest state beyond 4096 bytes",
        )
    if not cpu["xcr0"]:
        raise Unavailable("no_xsave", "XCR0 cannot be read here: the kernel has not enabled XSAVE")
    user = xcomp["GET_XCOMP_SUPP"]
    if user < 0:
        raise Unavailable(
            "old_kernel", f"ARCH_GET_XCOMP_SUPP: {errno_name(-user)}: before Linux 5.16"
        )
    layout = Layout.of(
        Component(int(nr), place["offset"], place["size"])
        for nr, place in cpu["components"].items()
        if not place["supervisor"] and user >> int(nr) & 1
    )
    table = CpuidTable.from_bytes(unpack(kvm["supported_cpuid_permitted"]))
    return HostProfile(
        user_features=user | FPSSE,
        kvm_xcr0=kvm.get("xcomp_guest_supp", table.xcr0),
        mxcsr_mask=cpu["mxcsr_mask"],
        layout=layout,
    )


def _behaviours(
    driver: Driver, facts: dict[str, Any], profile: HostProfile
) -> tuple[Behaviours, Behaviours]:
    found: set[Behaviour] = set()
    undetermined: set[Behaviour] = set()
    if facts["xcomp"]["REQ_XCOMP_PERM(19)"] == -errno.EOPNOTSUPP:
        found.add(Behaviour.KNOWS_APX)
    if not profile.amx:
        return frozenset(found), frozenset()
    unpermitted = CpuidTable.from_bytes(unpack(facts["kvm"]["supported_cpuid"])).xcr0
    if unpermitted & XFeature.XTILE_CFG.bit and not unpermitted & XFeature.XTILE_DATA.bit:
        found.add(Behaviour.XTILE_CFG_ADVERTISED_ALONE)
    requests = [Request(probe, hold=1) for probe in PROBES.values()]
    for behaviour, (request, trace) in zip(PROBES, driver.traces(requests, profile), strict=True):
        match _tile_data_kept(request.scenario, profile, trace):
            case True:
                found.add(behaviour)
            case None:
                undetermined.add(behaviour)
            case False:
                pass
    return frozenset(found), frozenset(undetermined)


def _tile_data_kept(probe: Scenario, profile: HostProfile, trace: Trace) -> bool | None:
    """Return whether the read-back shows XTILE_DATA; None where a step before went otherwise."""
    before = replace(trace, steps=trace.steps[:-1])
    last = trace.steps[-1].replies[-1] if len(trace.steps) == len(probe.steps) else None
    if last is None or last.output is None or divergences(probe, profile, before):
        return None
    return bool(xstate_bv_of(last.output) & XFeature.XTILE_DATA.bit)


@dataclass(frozen=True, slots=True)
class ScenarioClass:
    """A kind of scenario, and whether it is testable on a target; ``reason`` where not."""

    name: str
    testable: bool
    code: str = ""
    reason: str = ""


def amx_reason(profile: HostProfile, facts: dict[str, Any]) -> tuple[str, str]:
    """Return (code, reason) why AMX scenarios make no sense on a target without it."""
    if not facts["cpu"]["amx_tile"]:
        return "no_amx_cpu", "the CPU has no AMX (CPUID 7.0:EDX[24]=0)"
    offered = names(profile.kvm_xcr0)
    modules = ", ".join(facts["kvm"]["vendor_modules"]) or "KVM"
    return "no_amx_kvm", f"{modules} offers guests no XTILE_DATA (XCOMP_GUEST_SUPP {offered})"


def classes(preflight: Preflight) -> tuple[ScenarioClass, ...]:
    """Return what can be tested on a target, and why the rest cannot."""
    code, reason = (
        ("", "") if preflight.profile.amx else amx_reason(preflight.profile, preflight.facts)
    )
    guest = preflight.facts["kvm"]["guest_code"]
    return (
        ScenarioClass("restore orders of XCR0 and XSTATE", testable=True),
        ScenarioClass("restore orders with XFD, XTILE and permission", not code, code, reason),
        _guest_class("KVM_RUN of a real-mode guest", guest["real_mode"]),
        _guest_class("long-mode guest code", guest["long_mode"]),
    )


def _guest_class(name: str, result: str) -> ScenarioClass:
    ok = result == "runs"
    return ScenarioClass(name, ok, "" if ok else "no_guest_code", "" if ok else f"tried: {result}")
