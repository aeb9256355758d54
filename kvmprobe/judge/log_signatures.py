"""Kernel messages that report a fault of the kernel, in its FPU code or elsewhere."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from kvmprobe.results.fault import FaultKind, kind_of

if TYPE_CHECKING:
    from collections.abc import Iterable

_SIGNATURES = re.compile(
    r"WARNING:|\bBUG:|\bkernel BUG at|\bOops\b|general protection|kernel panic"
    r"|XFD: Invalid xfd error"
    r"|XSAVE consistency problem",
    re.IGNORECASE,
)
# Other tasks have them as well, and so has a machine with too much to do.
_NOT_OF_A_SCENARIO = (None, FaultKind.HUNG_TASK, FaultKind.RCU_STALL)


def violations(messages: Iterable[str]) -> list[str]:
    """Return the messages that no correct kernel prints for a scenario.

    :see: arch/x86/kernel/fpu/xstate.c, core.c; arch/x86/kernel/traps.c: handle_xfd_event;
        arch/x86/mm/extable.c: ex_handler_fprestore, ex_handler_msr_mce
    """
    return [
        message
        for message in messages
        if kind_of(message) not in _NOT_OF_A_SCENARIO or _SIGNATURES.search(message)
    ]
