"""Facts about the host of each column, as its run recorded them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmprobe.reports.host_facts import fact, fact_text, hypervisor, module_parameters
from kvmprobe.xstate.features import names

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kvmprobe.reports.html_report.columns import Column

    Reader = Callable[[object], str]

_NOT_AFFECTED = "Not affected"


@dataclass(frozen=True, slots=True)
class Fact:
    """One fact of each column.

    :ivar texts: one a column, empty where the run does not have it
    """

    name: str
    texts: tuple[str, ...]

    @property
    def everywhere(self) -> str:
        """The text that all of several columns have, or empty."""
        same = len(self.texts) > 1 and len(set(self.texts)) == 1
        return self.texts[0] if same else ""


@dataclass(frozen=True, slots=True)
class Topic:
    """Facts that belong together."""

    name: str
    facts: tuple[Fact, ...]


def environment(columns: Sequence[Column]) -> list[Topic]:
    """Return the facts that at least one column has, by topic."""
    found = [column.run.environments.get(column.target, {}) for column in columns]
    modules = dict.fromkeys(module for facts in found for module in module_parameters(facts))
    readers = _READERS | {"KVM": _KVM | {f"parameters of {m}": _parameters(m) for m in modules}}
    topics = []
    for topic, of_topic in readers.items():
        facts = [Fact(name, tuple(map(read, found))) for name, read in of_topic.items()]
        if any(any(known.texts) for known in facts):
            topics.append(Topic(topic, tuple(known for known in facts if any(known.texts))))
    return topics


def _at(*path: str) -> Reader:
    return lambda facts: fact_text(facts, path)


def _configuration(facts: object) -> str:
    config = ("environment", "kernel", "config")
    digest = fact_text(facts, (*config, "sha256"))
    return f"SHA-256 {digest}, {fact_text(facts, (*config, 'source'))}" if digest else ""


def _taint(facts: object) -> str:
    taint = ("environment", "kernel", "taint")
    return " ".join(fact_text(facts, (*taint, name)) for name in ("value", "letters")).strip()


def _signature(facts: object) -> str:
    value = fact(facts, ("cpu", "signature"))
    return f"{value:#x}" if isinstance(value, int) else ""


def _vulnerabilities(facts: object) -> str:
    found = fact(facts, ("environment", "cpu", "vulnerabilities"))
    of_cpu = found.items() if isinstance(found, Mapping) else ()
    return "; ".join(f"{name}: {text}" for name, text in of_cpu if text != _NOT_AFFECTED)


def _firmware(facts: object) -> str:
    dmi = fact(facts, ("environment", "machine", "dmi"))
    return ", ".join(map(str, dmi.values())) if isinstance(dmi, Mapping) else ""


def _offered(facts: object) -> str:
    value = fact(facts, ("kvm", "xcomp_guest_supp"))
    return names(value) if isinstance(value, int) else ""


def _settings(facts: object) -> str:
    found = fact(facts, ("settings",))
    known = found.items() if isinstance(found, Mapping) else ()
    return " ".join(
        f"{name.removeprefix('kernel/')}={value}" for name, value in known if value is not None
    )


def _parameters(module: str) -> Reader:
    def read(facts: object) -> str:
        of_module = module_parameters(facts).get(module, {})
        return " ".join(f"{name}={value}" for name, value in of_module.items())

    return read


_KVM: dict[str, Reader] = {
    "modules": _at("kvm", "vendor_modules"),
    "offers guests": _offered,
    "real-mode guest": _at("kvm", "guest_code", "real_mode"),
    "long-mode guest": _at("kvm", "guest_code", "long_mode"),
}
_READERS: dict[str, dict[str, Reader]] = {
    "kernel": {
        "version": _at("kernel", "version"),
        "build id": _at("environment", "kernel", "build_id"),
        "configuration": _configuration,
        "command line": _at("environment", "kernel", "cmdline"),
        "taint": _taint,
        "lockdown": _at("environment", "kernel", "lockdown"),
        "clocksource": _at("environment", "kernel", "clocksource"),
        "settings": _settings,
    },
    "processor": {
        "brand": _at("cpu", "brand"),
        "CPUID.1:EAX": _signature,
        "microcode": _at("environment", "cpu", "microcode"),
        "vulnerable or mitigated": _vulnerabilities,
    },
    "machine": {"firmware": _firmware, "under a hypervisor": hypervisor},
    "KVM": _KVM,
    "tool": {
        "kvmprobe": _at("environment", "tool", "version"),
        "Python": _at("environment", "tool", "python"),
        "kernel headers": _at("environment", "tool", "headers"),
    },
}
