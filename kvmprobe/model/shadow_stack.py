"""A vCPU's shadow stack at CPL 0: whether it is on, where it is, what an exception pushes on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.abi.numbers import Msr
from kvmprobe.abi.payload import SHADOW, STACKS, STACKS_SIZE
from kvmprobe.errors import NotModelled
from kvmprobe.model.control import Cr4

if TYPE_CHECKING:
    from kvmprobe.model.machine import Vcpu

# SDM vol.1 §17.2.4 and §17.3.3: bits of IA32_S_CET.
SH_STK_EN, WR_SHSTK_EN, ENDBR_EN, LEG_IW_EN = (1 << nr for nr in range(4))
_SUPPRESS, _TRACKER = 1 << 10, 1 << 11
_SLOT, _FRAME = 8, 24


def s_cet(vcpu: Vcpu) -> int:
    """Return IA32_S_CET.

    :see: SDM vol.4 table 2-2 "IA-32 Architectural MSRs"
    """
    return vcpu.msrs.get(Msr.IA32_S_CET, 0)


def shadow_stack_enabled(vcpu: Vcpu) -> bool:
    """Return True if CPL 0 has a shadow stack.

    :see: SDM vol.1 §17.1.1 "Shadow Stack"
    """
    return bool(vcpu.cr4 & Cr4.CET.bit and s_cet(vcpu) & SH_STK_EN)


def on_stacks(address: int) -> bool:
    """Return True if an entry at this linear address is in the payload's shadow stacks.

    :see: SDM vol.3 §4.6.1 "Determination of Access Rights"
    """
    first = SHADOW + STACKS
    return address % _SLOT == 0 and first <= address <= first + STACKS_SIZE - _SLOT


def require_room(ssp: int) -> None:
    """Require that an entry can be pushed.

    :raises NotModelled: the push is #PF, whose own push then ends in a shutdown, or is not aligned
    :see: SDM vol.1 §17.2 "Shadow Stacks"
    """
    if not on_stacks(ssp - _SLOT):
        raise NotModelled(f"a push to a shadow stack with SSP {ssp:#x}, not in the payload's")


def after_exception(vcpu: Vcpu) -> Vcpu:
    """Return the vCPU after an exception at CPL 0 has pushed CS, LIP and SSP.

    :see: SDM vol.1 §17.2.5 "Supervisor Shadow Stack Token", vol.2 "INT n/INTO/INT3/INT1—Call to
        Interrupt Procedure"
    """
    if not shadow_stack_enabled(vcpu):
        return vcpu
    require_room(vcpu.ssp)
    require_room(vcpu.ssp - _FRAME + _SLOT)
    return vcpu._replace(ssp=vcpu.ssp - _FRAME)


def require_tracker_idle(vcpu: Vcpu) -> None:
    """Require that the payload's own code, which has ENDBR64 only where it must, can go on.

    :raises NotModelled: indirect branch tracking waits for ENDBR64, or is suppressed
    :see: SDM vol.1 §17.3 "Indirect Branch Tracking"
    """
    tracks = vcpu.cr4 & Cr4.CET.bit and s_cet(vcpu) & ENDBR_EN
    if tracks and s_cet(vcpu) & (_SUPPRESS | _TRACKER):
        raise NotModelled("indirect branch tracking that waits for ENDBR64 or is suppressed")
