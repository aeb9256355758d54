"""The kernel and the machine that a failure was seen on, as far as the run tells."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from kvmprobe.reports.bug_report.text import item
from kvmprobe.reports.environment import TELLING_PARAMETERS, at

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kvmprobe.reports.bug_report.case import Case

# Name in the report, and where the fact is among a worker's facts.
_KERNEL_FACTS = (
    ("version", ("kernel", "version")),
    ("build id", ("environment", "kernel", "build_id")),
    ("config, SHA-256", ("environment", "kernel", "config", "sha256")),
    ("command line", ("environment", "kernel", "cmdline")),
    ("tainted", ("settings", "kernel/tainted")),
)
_CPU_FACTS = (
    ("CPU", ("cpu", "brand")),
    ("microcode", ("environment", "cpu", "microcode")),
    ("hypervisor", ("environment", "machine", "hypervisor", "vendor")),
)
_SIGNATURE = ("cpu", "signature")
_PARAMETERS = ("kvm", "parameters")
_EMULATED = "emulated Sapphire Rapids (Bochs, patched to know XFD); not confirmed on silicon"


def surroundings(case: Case) -> list[str]:
    """Return one entry a fact: kernel, package, CPU, KVM's parameters."""
    target, facts = case.record.target, case.environment
    told = {
        "kernel": _text(at(facts, ("kernel", "release"))) or target.kernel,
        "package": target.source,
        **_texts(facts, _KERNEL_FACTS),
        **_machine(case),
        **_parameters(at(facts, _PARAMETERS)),
    }
    return [line for name, text in told.items() if text for line in item(f"{name}: {text}")]


def _machine(case: Case) -> dict[str, str]:
    """Return what it ran on; what an emulator tells of its processor is only a name."""
    if case.record.target.emulated:
        return {"machine": _EMULATED}
    signature = at(case.environment, _SIGNATURE)
    named = f"{signature:#x}" if isinstance(signature, int) else ""
    return {**_texts(case.environment, _CPU_FACTS), "CPUID.1:EAX": named}


def _texts(facts: object, wanted: Iterable[tuple[str, tuple[str, ...]]]) -> dict[str, str]:
    return {name: _text(at(facts, path)) for name, path in wanted}


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
            f"{name}={value}" for name, value in of.items() if name in TELLING_PARAMETERS
        )
        for module, of in modules.items()
        if isinstance(of, Mapping)
    }
