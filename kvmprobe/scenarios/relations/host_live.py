"""Scenarios whose calls are made by a thread with live FPU registers: the steps are the same.

A VMM's thread has state of its own.  A call changes it in neither direction: the registers are
after the call what they were before, and the guest has nothing of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.abi.executor import HostRegisters
from kvmprobe.scenarios.derived import Aspect
from kvmprobe.scenarios.need import AMX, ANYWHERE
from kvmprobe.scenarios.ops.permission import GetPermission, RequestPermission
from kvmprobe.scenarios.ops.process import SetAltstack
from kvmprobe.scenarios.relations.derivation import Derivation, Rewritten
from kvmprobe.scenarios.relations.repeats import inserted
from kvmprobe.xstate.features import XFeature

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmprobe.scenarios.scenario import Scenario

_ALL, _INIT, _PKRU, _TILES = "all", "init", "pkru-0", "tiles"
# What a suffix ends with, as a regular expression.
WAYS = f"({_ALL}|{_INIT}|{_PKRU}|{_TILES})"
_REGISTERS = {_INIT: HostRegisters.ALL_INIT, _PKRU: HostRegisters.PKRU_INIT}
_ASK = RequestPermission(XFeature.XTILE_DATA)
# What the process's own permission changes.
_ABOUT_PERMISSION = (GetPermission, RequestPermission, SetAltstack)


def ways(base: Scenario) -> Iterator[str]:
    """Yield what the registers of a scenario's threads can have."""
    yield from (_ALL, _INIT, _PKRU)
    if not any(isinstance(op, _ABOUT_PERMISSION) for _, op in base.ops()):
        yield _TILES


def with_registers(base: Scenario, variant: str) -> Rewritten:
    """Return the steps, for threads with such registers."""
    asks, needs = ((_ASK,), AMX) if variant == _TILES else ((), ANYWHERE)
    made = inserted(base, 0, asks)
    registers = _REGISTERS.get(variant, HostRegisters.ALL_LIVE)
    return Rewritten(made.steps, made.places, needs, registers)


HOST_LIVE = Derivation(
    "host-live",
    "the calling thread has a pattern (`all`) or INIT in its FPU registers; `tiles`: the pattern, "
    "and permission for tiles; `pkru-0`: INIT, and PKRU 0",
    Aspect.REGISTERS,
    f"host-live-{WAYS}",
    ways,
    with_registers,
)
