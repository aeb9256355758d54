"""The named scenarios, one file a question."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.scenarios.catalog import restore

if TYPE_CHECKING:
    from kvmprobe.model.host import HostProfile
    from kvmprobe.scenarios.scenario import Scenario


def scenarios(host: HostProfile) -> tuple[Scenario, ...]:
    """Return all scenarios for a host, in a stable order; components it lacks have dropped out."""
    return restore.scenarios(host)
