"""The kernel and the machine of a failure, as far as the run has recorded them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.reports.bug_report.text import item
from kvmprobe.reports.environment import TELLING_PARAMETERS
from kvmprobe.reports.host_facts import fact, fact_text, hypervisor, module_parameters

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
)
_SIGNATURE = ("cpu", "signature")
_EMULATED = "emulated Sapphire Rapids (Bochs, patched to know XFD); not confirmed on silicon"


def environment(case: Case) -> list[str]:
    """Return one entry a fact: kernel, package, CPU, KVM's parameters."""
    target, facts = case.record.target, case.environment
    entries = {
        "kernel": fact_text(facts, ("kernel", "release")) or target.kernel,
        # Of this host the source says its version, which follows.
        "package": target.source if target.emulated else "",
        **_texts(facts, _KERNEL_FACTS),
        **_machine(case),
        **_parameters(facts),
    }
    return [line for name, text in entries.items() if text for line in item(f"{name}: {text}")]


def _machine(case: Case) -> dict[str, str]:
    """Return what it ran on; an emulator reports only a name for its processor."""
    if case.record.target.emulated:
        return {"machine": _EMULATED}
    signature = fact(case.environment, _SIGNATURE)
    named = f"{signature:#x}" if isinstance(signature, int) else ""
    return {
        **_texts(case.environment, _CPU_FACTS),
        "CPUID.1:EAX": named,
        "under a hypervisor": hypervisor(case.environment),
        "KVM": fact_text(case.environment, ("kvm", "vendor_modules")),
    }


def _texts(facts: object, wanted: Iterable[tuple[str, tuple[str, ...]]]) -> dict[str, str]:
    return {name: fact_text(facts, path) for name, path in wanted}


def _parameters(facts: object) -> dict[str, str]:
    return {
        module: " ".join(
            f"{name}={value}" for name, value in of.items() if name in TELLING_PARAMETERS
        )
        for module, of in module_parameters(facts).items()
    }
