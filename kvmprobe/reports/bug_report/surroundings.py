"""The kernel and the machine that a failure was seen on, as far as the run tells."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from kvmprobe.reports.bug_report.text import item

if TYPE_CHECKING:
    from kvmprobe.reports.bug_report.case import Case

# Name in the report, and where the fact is among a worker's facts.
_FACTS = (
    ("kernel", ("kernel", "release")),
    ("version", ("kernel", "version")),
    ("build id", ("environment", "kernel", "build_id")),
    ("config, SHA-256", ("environment", "kernel", "config", "sha256")),
    ("command line", ("environment", "kernel", "cmdline")),
    ("tainted", ("settings", "kernel/tainted")),
    ("CPU", ("cpu", "brand")),
    ("microcode", ("environment", "cpu", "microcode")),
    ("hypervisor", ("environment", "machine", "hypervisor", "vendor")),
)
_SIGNATURE = ("cpu", "signature")
_PARAMETERS = ("kvm", "parameters")
_EMULATED = "emulated Sapphire Rapids (Bochs, patched to know XFD); not confirmed on silicon"
# Of kvm.ko's thirty parameters those that change what the calls here return.
_TELLING = frozenset({"ignore_msrs", "enable_pmu", "force_emulation_prefix"})


def surroundings(case: Case) -> list[str]:
    """Return one entry a fact: kernel, package, CPU, KVM's parameters."""
    target, facts = case.record.target, case.environment
    told = {name: _text(_at(facts, path)) for name, path in _FACTS}
    told["kernel"] = told["kernel"] or target.kernel
    told["package"] = target.source
    signature = _at(facts, _SIGNATURE)
    told["CPUID.1:EAX"] = f"{signature:#x}" if isinstance(signature, int) else ""
    told["machine"] = _EMULATED if target.kind == "lab" else ""
    told |= _parameters(_at(facts, _PARAMETERS))
    return [line for name, text in told.items() if text for line in item(f"{name}: {text}")]


def _text(value: object) -> str:
    """Return a fact as text; nothing where it is not known."""
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "" if value is None or isinstance(value, Mapping) else str(value)


def _parameters(modules: object) -> dict[str, str]:
    """Return the parameters of KVM's modules, an entry a module."""
    if not isinstance(modules, Mapping):
        return {}
    return {
        str(module): " ".join(
            f"{name}={value}" for name, value in of.items() if module != "kvm" or name in _TELLING
        )
        for module, of in modules.items()
        if isinstance(of, Mapping)
    }


def _at(facts: object, path: tuple[str, ...]) -> object:
    for name in path:
        facts = facts.get(name) if isinstance(facts, Mapping) else None
    return facts
