"""The named scenarios, one file per question."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from kvmprobe.scenarios.catalog import (
    asleep,
    caps,
    cpuid,
    fields,
    fpu,
    guest,
    init,
    literal,
    migration,
    msrs,
    nested,
    pairs,
    permission,
    reset,
    restore,
    sregs,
    synced,
    system,
    vcpus,
    vmm,
    waiting,
    xcrs,
    xsave,
)
from kvmprobe.scenarios.scenario_id import family_of

if TYPE_CHECKING:
    from kvmprobe.model.host import HostProfile
    from kvmprobe.scenarios.scenario import Scenario

# The module of each family, in the order of the catalogue.
_MODULES = {
    "restore": restore,
    "kick": restore,
    "permission": permission,
    "system": system,
    "xsave": xsave,
    "fpu": fpu,
    "cpuid": cpuid,
    "msrs": msrs,
    "xcrs": xcrs,
    "sregs": sregs,
    "fields": fields,
    "literal": literal,
    "pair": pairs,
    "vmm": vmm,
    "cap": caps,
    "sync": synced,
    "nested": nested,
    "init": init,
    "reset": reset,
    "guest": guest,
    "migrate": migration,
    "vcpus": vcpus,
    "asleep": asleep,
    "waiting": waiting,
}


@lru_cache(maxsize=4)
def scenarios(host: HostProfile) -> tuple[Scenario, ...]:
    """Return all scenarios for a host in a stable order, without components that it lacks."""
    modules = dict.fromkeys(_MODULES.values())
    return tuple(scenario for module in modules for scenario in module.scenarios(host))


def scenario(name: str, host: HostProfile) -> Scenario | None:
    """Return the scenario with that id; only its family is built."""
    module = _MODULES.get(family_of(name))
    found = module.scenarios(host) if module else ()
    return next((scenario for scenario in found if scenario.id == name), None)
