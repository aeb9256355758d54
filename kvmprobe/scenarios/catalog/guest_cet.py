"""Guests with control-flow enforcement: shadow stacks, IBT, and CET state in their XSAVES images.

The payload executes at CPL 0, so IA32_S_CET, CR4.CET and SSP apply to it; CET_USER and CET_KERNEL
are state that it saves and restores.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.abi.numbers import Msr
from kvmprobe.abi.payload import DATA, PayloadOp
from kvmprobe.model.control import Cr0, Cr4
from kvmprobe.model.guest import PAYLOAD_CR0, PAYLOAD_CR4
from kvmprobe.model.guest_xsave import COMPACTED, RestoreForm, SaveForm
from kvmprobe.model.one_reg import GUEST_SSP
from kvmprobe.model.shadow_stack import ENDBR_EN, SH_STK_EN, WR_SHSTK_EN
from kvmprobe.scenarios.catalog._guests import AVX, CET_GUEST, run, scenario
from kvmprobe.scenarios.ops.guest_control import (
    GuestCpuidLeaf,
    GuestRdmsr,
    GuestWriteCr0,
    GuestWriteCr4,
    GuestWrmsr,
)
from kvmprobe.scenarios.ops.guest_shadow_stack import (
    FIRST,
    GuestClrssbsy,
    GuestIncssp,
    GuestRdssp,
    GuestRstorssp,
    GuestSetssbsy,
    GuestSwitchStacks,
    GuestWrss,
)
from kvmprobe.scenarios.ops.guest_xsave import GuestXrstor, GuestXsave, Supervisor
from kvmprobe.scenarios.ops.msrs import GetMsrs, SetMsrs
from kvmprobe.scenarios.ops.one_reg import GetOneReg, SetOneReg
from kvmprobe.scenarios.ops.sregs import GetSregs
from kvmprobe.scenarios.ops.xcrs import SetXcrs
from kvmprobe.scenarios.ops.xsave import GetXsave2, SetXsave
from kvmprobe.xstate.features import CET, XFeature

if TYPE_CHECKING:
    from kvmprobe.scenarios.ops import Op
    from kvmprobe.scenarios.scenario import Scenario

TOP, SECOND = FIRST + 0x1000, FIRST + 0x1800
S_CET = SH_STK_EN | WR_SHSTK_EN
USE_CET = GuestWriteCr4(PAYLOAD_CR4 | Cr4.OSXSAVE.bit | Cr4.CET.bit)
CET_MSRS = (
    Msr.IA32_U_CET,
    Msr.IA32_S_CET,
    Msr.IA32_PL0_SSP,
    Msr.IA32_PL1_SSP,
    Msr.IA32_PL2_SSP,
    Msr.IA32_PL3_SSP,
    Msr.IA32_INT_SSP_TAB,
)
STACKS_ON: tuple[Op, ...] = (
    SetOneReg(GUEST_SSP, TOP),
    SetMsrs(((Msr.IA32_S_CET, S_CET),)),
    USE_CET,
)
"""The guest has a shadow stack at CPL 0 whose SSP came from the host."""
RESTORE_CET = GuestXrstor(
    AVX | CET, AVX | CET | COMPACTED, RestoreForm.XRSTORS, supervisor=Supervisor.PATTERN
)
SAVE_CET = GuestXsave(SaveForm.XSAVES)
_SEEN: tuple[Op, ...] = (GetOneReg(GUEST_SSP), GetMsrs((Msr.IA32_S_CET,)))
_SEEN_MSRS: tuple[Op, ...] = (GetMsrs((Msr.IA32_XSS, *CET_MSRS)), GetXsave2())


def scenarios() -> tuple[Scenario, ...]:
    """Return the part of the family ``guest`` that needs CET."""
    return (*_stacks(), _tracking(), *_control(), *_xstate())


def _stacks() -> tuple[Scenario, ...]:
    calls = run(PayloadOp.CALL, PayloadOp.UD2, PayloadOp.CALL)
    violation = run(PayloadOp.RETURN_ELSEWHERE)
    tokens = _on_tokens()
    begins = (
        *STACKS_ON,
        GuestWrmsr(Msr.IA32_PL0_SSP, SECOND),
        GuestSetssbsy(SECOND | 1, SECOND),
        GuestRdssp(),
        GuestSetssbsy(SECOND, SECOND),
        GuestRdssp(),
        GuestClrssbsy(SECOND, SECOND),
        GuestRdssp(),
    )
    frees = (*STACKS_ON, GuestClrssbsy(TOP | 1, TOP), GuestRdssp(), GuestRdmsr(Msr.IA32_S_CET))
    from_host = (*STACKS_ON, GuestRdssp(), SetOneReg(GUEST_SSP, SECOND), GuestRdssp(), *calls)
    off = SetMsrs(((Msr.IA32_S_CET, 0),))
    no_stack = (GuestRdssp(0x55), GuestIncssp(1), *tokens, *calls, *violation)
    # SSP is not read after #CP of a RET: the emulator leaves it popped, the SDM says it is a fault.
    violated = (*STACKS_ON, *violation, SetOneReg(GUEST_SSP, TOP), GuestRdssp(), *calls, *violation)
    return (
        scenario("ssp", CET_GUEST, (*from_host, off, GuestRdssp(0x55)), _SEEN),
        scenario("shadow-stack", CET_GUEST, (*STACKS_ON, *calls, *tokens), _SEEN),
        scenario("shadow-stack-violated", CET_GUEST, violated, _SEEN[1:]),
        scenario("shadow-stack-off", CET_GUEST, (USE_CET, *no_stack), _SEEN),
        scenario("shadow-stack-without-cr4", CET_GUEST, (*STACKS_ON[:2], *no_stack), _SEEN),
        scenario("shadow-stack-busy", CET_GUEST, begins, _SEEN),
        scenario("shadow-stack-freed", CET_GUEST, frees, _SEEN),
    )


def _on_tokens() -> tuple[Op, ...]:
    """Each instruction on a token: a right one, wrong ones, and misaligned."""
    end = SECOND + 8
    return (
        GuestIncssp(4),
        GuestRdssp(),
        GuestWrss(0x1234_5678_9ABC_DEF0, FIRST),
        GuestWrss(1, FIRST + 4),
        GuestWrss(1, DATA),
        *(GuestRstorssp(token, SECOND) for token in (end, end | 2, end | 3, end + 8 | 1, 0)),
        GuestRstorssp(end | 1, SECOND),
        GuestRdssp(),
        GuestSwitchStacks(end, SECOND),
        GuestSwitchStacks(FIRST + 0x808 | 1, FIRST + 0x800),
        GuestRdssp(),
        GuestWrss(2, FIRST, token=7),
        *run(PayloadOp.CALL),
    )


def _tracking() -> Scenario:
    """Track indirect branches, with a shadow stack and without."""
    s_cet = (ENDBR_EN, ENDBR_EN | S_CET, 0)
    ops: list[Op] = [SetOneReg(GUEST_SSP, TOP), USE_CET]
    for value in s_cet:
        ops += [GuestWrmsr(Msr.IA32_S_CET, value), *run(PayloadOp.NOP, PayloadOp.JUMP_UNTRACKED)]
        ops += [GuestRdmsr(Msr.IA32_S_CET), GuestRdssp()]
    return scenario("ibt", CET_GUEST, ops, _SEEN)


def _control() -> tuple[Scenario, ...]:
    """CR4.CET needs CR0.WP, whichever of the two the guest writes."""
    no_wp, wp = GuestWriteCr0(PAYLOAD_CR0 & ~Cr0.WP), GuestWriteCr0(PAYLOAD_CR0)
    plain = GuestWriteCr4(PAYLOAD_CR4)
    ops = (USE_CET, no_wp, plain, no_wp, USE_CET, wp, USE_CET, plain)
    return (scenario("cr4-cet", CET_GUEST, ops, (GetSregs(),)),)


def _xstate() -> tuple[Scenario, ...]:
    """CET state in the guest's own images, by the components that IA32_XSS enables."""
    begin: tuple[Op, ...] = (SetXcrs(AVX), GuestWriteCr4(PAYLOAD_CR4 | Cr4.OSXSAVE.bit))
    moves = (SAVE_CET, RESTORE_CET, SAVE_CET, GuestXsave(SaveForm.XSAVEC), GuestCpuidLeaf(0xD, 1))
    init = GuestXrstor(AVX, AVX | CET | COMPACTED, RestoreForm.XRSTORS)
    written = SetMsrs(((Msr.IA32_U_CET, SH_STK_EN), (Msr.IA32_PL3_SSP, 0x7000)))
    by_guest: list[Op] = []
    for xss in (CET, XFeature.CET_USER.bit, XFeature.CET_KERNEL.bit, 0):
        by_guest += [GuestWrmsr(Msr.IA32_XSS, xss), *moves]
    by_host = (SetMsrs(((Msr.IA32_XSS, CET),)), written, *moves, SetXsave(AVX), SAVE_CET, init)
    lost = (SetMsrs(((Msr.IA32_XSS, 0),)), RESTORE_CET, SAVE_CET)
    return (
        scenario("cet-xsaves", CET_GUEST, (*begin, *by_guest), _SEEN_MSRS),
        scenario("cet-xsaves-host", CET_GUEST, (*begin, *by_host, SAVE_CET, *lost), _SEEN_MSRS),
    )
