"""The result of probing a target: the host profile, and what can be tested there."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

from kvmprobe.errors import Unavailable, errno_name
from kvmprobe.execution.packed import unpack
from kvmprobe.model.behaviours import DEFECTS, Behaviour, Behaviours
from kvmprobe.model.feature import IBT, SHSTK, offers
from kvmprobe.model.host import HostProfile
from kvmprobe.scenarios.scenario import Need
from kvmprobe.xstate.cpuid import CpuidEntry, CpuidTable
from kvmprobe.xstate.features import FPSSE, names
from kvmprobe.xstate.layout import Component, Layout

CAP_XSAVE2_SINCE = "5.17"
RUNS = "runs"
_CPUS_TO_MOVE = 2


@dataclass(frozen=True, slots=True)
class Preflight:
    """The result of probing one target.

    :ivar facts: the worker's facts, ready for JSON; ``environment`` describes host, kernel,
        processor and tool
    :ivar undetermined: behaviours that the probes could neither confirm nor exclude
    """

    facts: dict[str, Any]
    profile: HostProfile
    undetermined: Behaviours

    @property
    def recorded(self) -> dict[str, Any]:
        """The facts and the kernel's behaviours, as the run's record has them."""
        behaviours = {
            "found": sorted(behaviour.name for behaviour in self.profile.behaviours),
            "undetermined": sorted(behaviour.name for behaviour in self.undetermined),
        }
        return {**self.facts, "behaviours": behaviours}

    @classmethod
    def of_recorded(cls, recorded: dict[str, Any]) -> Self:
        """Return the result that was recorded.

        :raises KeyError: it is not one
        """
        facts = {name: fact for name, fact in recorded.items() if name != "behaviours"}
        found, undetermined = (
            frozenset(Behaviour[name] for name in recorded["behaviours"][kind])
            for kind in ("found", "undetermined")
        )
        return cls(facts, replace(profile_of(facts), behaviours=found), undetermined)

    @property
    def suspected(self) -> Behaviours:
        """Known defects that this kernel has or may have."""
        return (self.profile.behaviours | self.undetermined) & DEFECTS


def profile_of(facts: dict[str, Any]) -> HostProfile:
    """Return the host profile for these facts, without behaviours.

    :raises Unavailable: ``old_kvm``, ``old_kernel`` or ``no_xsave``
    """
    cpu, kvm, xcomp = facts["cpu"], facts["kvm"], facts["xcomp"]
    if not kvm["cap_xsave2"]:
        raise Unavailable(
            "old_kvm",
            f"KVM_CHECK_EXTENSION(KVM_CAP_XSAVE2) returned 0 on {facts['kernel']['release']}: "
            f"KVM before Linux {CAP_XSAVE2_SINCE} cannot return guest state beyond 4096 bytes",
        )
    if not cpu["xcr0"]:
        raise Unavailable("no_xsave", "XCR0 cannot be read here: the kernel has not enabled XSAVE")
    user = xcomp["GET_XCOMP_SUPP"]
    if user < 0:
        raise Unavailable(
            "old_kernel",
            f"arch_prctl(ARCH_GET_XCOMP_SUPP) returned -{errno_name(-user)}: "
            "the kernel is older than Linux 5.16",
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
        behaviours=frozenset(),
        cpu=CpuidTable(tuple(CpuidEntry(*leaf) for leaf in cpu["leaves"])),
        supported=table,
        msrs=frozenset(kvm["msrs"]),
    )


@dataclass(frozen=True, slots=True)
class ScenarioClass:
    """A kind of scenario, and whether it can be tested on a target; ``reason`` if not."""

    name: str
    testable: bool
    code: str = ""
    reason: str = ""


def unmet(preflight: Preflight) -> dict[Need, tuple[str, str]]:
    """Return (code, reason) for each need that this target cannot meet."""
    found: dict[Need, tuple[str, str]] = {}
    if not preflight.profile.amx:
        found[Need.AMX] = _no_amx(preflight.profile, preflight.facts)
    if not preflight.profile.cet:
        found[Need.CET] = _no_cet(preflight.profile)
    long_mode = preflight.facts["kvm"]["guest_code"]["long_mode"]
    if long_mode != RUNS:
        found[Need.GUEST_CODE] = ("no_guest_code", f"long-mode guest: {long_mode}")
    nested = _no_nested_vmx(preflight.facts["kvm"])
    if nested:
        found[Need.NESTED_VMX] = ("no_nested_vmx", nested)
    # Recordings from before this fact are of one CPU.
    if preflight.facts.get("cpus", 1) < _CPUS_TO_MOVE:
        found[Need.TWO_CPUS] = ("one_cpu", "kvmprobe may use one CPU only")
    if preflight.facts["userfaultfd"]:
        found[Need.PRIVILEGE] = ("no_userfaultfd", preflight.facts["userfaultfd"])
    return found


def _no_nested_vmx(kvm: dict[str, Any]) -> str:
    if "kvm_intel" not in kvm["vendor_modules"]:
        return "KVM runs guests without VMX (no module kvm_intel)"
    # Recordings from before this fact do without it.
    return "" if kvm.get("cap_nested_state") else "KVM has no KVM_CAP_NESTED_STATE"


def _no_amx(profile: HostProfile, facts: dict[str, Any]) -> tuple[str, str]:
    if not facts["cpu"]["amx_tile"]:
        return "no_amx_cpu", "the CPU has no AMX (CPUID 7.0:EDX[24]=0)"
    offered = names(profile.kvm_xcr0)
    modules = ", ".join(facts["kvm"]["vendor_modules"]) or "KVM"
    return "no_amx_kvm", f"{modules} offers guests no XTILE_DATA (XCOMP_GUEST_SUPP {offered})"


def _no_cet(profile: HostProfile) -> tuple[str, str]:
    parts = {"SHSTK": offers(profile, SHSTK), "IBT": offers(profile, IBT)}
    offered = [name for name, found in parts.items() if found]
    listed = ", ".join([*offered, f"IA32_XSS {names(profile.kvm_xss)}"])
    return "no_cet_kvm", f"KVM_GET_SUPPORTED_CPUID of CET: {listed}"


def classes(preflight: Preflight) -> tuple[ScenarioClass, ...]:
    """Return the kinds of scenarios, and which of them can be tested on a target."""
    code, reason = unmet(preflight).get(Need.AMX, ("", ""))
    guest = preflight.facts["kvm"]["guest_code"]
    return (
        ScenarioClass("restore orders of XCR0 and XSTATE", testable=True),
        ScenarioClass("restore orders with XFD, XTILE and permission", not code, code, reason),
        _guest_class("KVM_RUN of a real-mode guest", guest["real_mode"]),
        _guest_class("long-mode guest code", guest["long_mode"]),
    )


def _guest_class(name: str, result: str) -> ScenarioClass:
    ok = result == RUNS
    return ScenarioClass(name, ok, "" if ok else "no_guest_code", "" if ok else f"tried: {result}")
