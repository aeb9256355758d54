"""Single facts of a host from its worker's report; nothing where the report lacks them.

A run of an older kvmprobe lacks some facts, so each is optional.
"""

from __future__ import annotations

from collections.abc import Mapping

Path = tuple[str, ...]


def fact(facts: object, path: Path) -> object:
    """Return what stands at a path of names, or None."""
    for name in path:
        facts = facts.get(name) if isinstance(facts, Mapping) else None
    return facts


def fact_text(facts: object, path: Path) -> str:
    """Return a fact as text; empty where there is none, or where it is no single value."""
    value = fact(facts, path)
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "" if value is None or isinstance(value, Mapping) else str(value)


def hypervisor(facts: object) -> str:
    """Return whether the host is itself a guest, and whose."""
    found = fact(facts, ("environment", "machine", "hypervisor"))
    if not isinstance(found, Mapping):
        return ""
    return f"yes, {found.get('vendor') or 'without a signature'}" if found.get("bit") else "no"


def module_parameters(facts: object) -> dict[str, dict[str, str]]:
    """Return the parameters of KVM's modules, by module."""
    modules = fact(facts, ("kvm", "parameters"))
    return {
        str(module): {str(name): str(value) for name, value in of.items()}
        for module, of in (modules.items() if isinstance(modules, Mapping) else ())
        if isinstance(of, Mapping)
    }
