"""The named scenarios, one file a question."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from kvmprobe.scenarios.catalog import (
    cpuid,
    fpu,
    guest,
    migration,
    msrs,
    pairs,
    permission,
    restore,
    sregs,
    system,
    vmm,
    xcrs,
    xsave,
)

if TYPE_CHECKING:
    from kvmprobe.model.host import HostProfile
    from kvmprobe.scenarios.scenario import Scenario


@lru_cache(maxsize=4)
def scenarios(host: HostProfile) -> tuple[Scenario, ...]:
    """Return all scenarios for a host, in a stable order, without the components it lacks."""
    families = (
        restore,
        permission,
        system,
        xsave,
        fpu,
        cpuid,
        msrs,
        xcrs,
        sregs,
        pairs,
        vmm,
        guest,
        migration,
    )
    return tuple(scenario for family in families for scenario in family.scenarios(host))
