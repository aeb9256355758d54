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
    ("build id", ("kernel", "build_id")),
    ("config", ("kernel", "config_sha256")),
    ("CPU", ("cpu", "brand")),
    ("signature", ("cpu", "signature")),
    ("microcode", ("cpu", "microcode")),
    ("hypervisor", ("cpu", "hypervisor")),
    ("tainted", ("settings", "kernel/tainted")),
)
_EMULATED = "emulated Sapphire Rapids (Bochs, patched to know XFD); not confirmed on silicon"
_PARAMETERS = ("kvm", "parameters")


def surroundings(case: Case) -> list[str]:
    """Return one entry a fact: kernel, package, CPU, KVM's parameters."""
    target = case.record.target
    facts = case.environment
    told = [(name, _at(facts, path)) for name, path in _FACTS]
    if not facts:
        told[0] = ("kernel", target.kernel)
    told.insert(1, ("package", target.source))
    if target.kind == "lab":
        told.append(("machine", _EMULATED))
    told += _parameters(_at(facts, _PARAMETERS))
    return [
        line
        for name, value in told
        if value not in {None, ""} and not isinstance(value, Mapping)
        for line in item(f"{name}: {value}")
    ]


def _parameters(modules: object) -> list[tuple[str, object]]:
    """Return the parameters of KVM's modules, a line a module."""
    if not isinstance(modules, Mapping):
        return []
    return [
        (str(module), " ".join(f"{name}={value}" for name, value in of.items()))
        for module, of in modules.items()
        if isinstance(of, Mapping)
    ]


def _at(facts: object, path: tuple[str, ...]) -> object:
    for name in path:
        facts = facts.get(name) if isinstance(facts, Mapping) else None
    return facts
