"""The recorded facts about the kernel and the machine of a failure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.reports.bug_report.text import item
from kvmprobe.reports.environment import TELLING_PARAMETERS
from kvmprobe.reports.host_facts import host_facts, module_parameters

if TYPE_CHECKING:
    from kvmprobe.reports.bug_report.case import Case

_KERNEL = ("version", "build id", "configuration", "command line", "taint")
_EMULATED = "emulated Sapphire Rapids (Bochs, patched to know XFD); not confirmed on silicon"


def environment(case: Case) -> list[str]:
    """Return one entry for each fact: kernel, package, CPU, parameters of KVM."""
    target, known = case.record.target, host_facts(case.environment)

    def text(topic: str, name: str) -> str:
        return "".join(known.get(topic, {}).get(name, ()))

    entries = {"kernel": text("kernel", "release") or target.kernel}
    if target.emulated:
        # For this host the source is the version, which follows.
        entries["package"] = target.source
    entries |= {name: text("kernel", name) for name in _KERNEL}
    if target.emulated:
        entries["machine"] = _EMULATED
        entries["options of the emulated host"] = target.variant.options
    else:
        entries |= {
            "CPU": text("processor", "brand"),
            "microcode": text("processor", "microcode"),
            "CPUID.1:EAX": text("processor", "CPUID.1:EAX"),
            "under a hypervisor": text("machine", "under a hypervisor"),
            "KVM": text("KVM", "modules"),
        }
    for module, of_module in module_parameters(case.environment).items():
        telling = (f"{n}={value}" for n, value in of_module.items() if n in TELLING_PARAMETERS)
        entries[module] = " ".join(telling)
    return [line for name, shown in entries.items() if shown for line in item(f"{name}: {shown}")]
