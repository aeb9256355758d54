"""Scenarios with a process that competes for their CPU: the steps are the same.

It has a pattern of its own in all FPU registers, and runs during each call and after it.  The
calling threads have registers as in :mod:`kvmprobe.scenarios.relations.host_live`.  None of the
three, guest, calling thread and competing process, has anything of another one's registers.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from kvmprobe.abi.executor import Competition
from kvmprobe.scenarios.derived import Aspect
from kvmprobe.scenarios.relations.derivation import Derivation, Rewritten
from kvmprobe.scenarios.relations.host_live import WAYS, ways, with_registers

if TYPE_CHECKING:
    from kvmprobe.scenarios.scenario import Scenario


def _rewrite(base: Scenario, variant: str) -> Rewritten:
    return replace(with_registers(base, variant), competition=Competition.PROCESS_COMPETES)


COMPETING = Derivation(
    "competing",
    "as host-live, and a process with a pattern in its FPU registers competes for the CPU",
    Aspect.COMPETITION,
    f"competing-{WAYS}",
    ways,
    _rewrite,
)
