"""The part of a host's facts that KCIDB gets with each test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvmprobe.reports.host_facts import fact, module_parameters

if TYPE_CHECKING:
    from collections.abc import Mapping

# Parameters of KVM's modules that change what the calls return, or how a guest runs.
TELLING_PARAMETERS = frozenset(
    {
        "cet",
        "emulate_invalid_guest_state",
        "enable_apicv",
        "ept",
        "force_emulation_prefix",
        "ignore_msrs",
        "nested",
        "npt",
        "unrestricted_guest",
    }
)
_PATHS = {
    "kernel": ("kernel", "release"),
    "kernel_version": ("kernel", "version"),
    "build_id": ("environment", "kernel", "build_id"),
    "config": ("environment", "kernel", "config", "sha256"),
    "taint": ("environment", "kernel", "taint", "value"),
    "clocksource": ("environment", "kernel", "clocksource"),
    "cpu": ("cpu", "brand"),
    "cpu_signature": ("cpu", "signature"),
    "microcode": ("environment", "cpu", "microcode"),
    "dmi": ("environment", "machine", "dmi"),
    "hypervisor": ("environment", "machine", "hypervisor"),
    "kvm_modules": ("kvm", "vendor_modules"),
    "headers": ("environment", "tool", "headers"),
    "behaviours": ("behaviours", "found"),
}


def brief_environment(environment: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts that distinguish environments; unknown ones are left out.

    :param environment: of a target, as in :class:`~kvmprobe.results.run_document.RunDocument`
    """
    values = {name: fact(environment, path) for name, path in _PATHS.items()}
    values["kvm_parameters"] = _parameters(module_parameters(environment))
    return {name: value for name, value in values.items() if value not in (None, {})}


def _parameters(modules: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Return the relevant parameters, by module and name: ``kvm.ignore_msrs``."""
    return {
        f"{module}.{name}": value
        for module, of in modules.items()
        for name, value in of.items()
        if name in TELLING_PARAMETERS
    }
