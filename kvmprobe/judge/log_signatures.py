"""Kernel messages that report a fault of the kernel, in its FPU code or elsewhere."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_SIGNATURES = re.compile(
    r"WARNING:|\bBUG:|\bkernel BUG at|\bOops\b|general protection|unexpected #NM|kernel panic"
    r"|Bad FPU state detected"
    r"|XFD: Invalid xfd error"
    r"|unchecked MSR access error"
    r"|XSAVE consistency problem",
    re.IGNORECASE,
)


def violations(messages: Iterable[str]) -> list[str]:
    """Return the messages that no correct kernel prints for a scenario.

    :see: arch/x86/kernel/fpu/xstate.c, core.c; arch/x86/kernel/traps.c: handle_xfd_event;
        arch/x86/mm/extable.c: ex_handler_fprestore, ex_handler_msr_mce
    """
    return [message for message in messages if _SIGNATURES.search(message)]
