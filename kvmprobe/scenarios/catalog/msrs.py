"""The values that the host may write to MSRs, alone and in lists, and the effect on XSTATE."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from kvmprobe.abi.numbers import Msr
from kvmprobe.model.msr import PAT_AT_RESET
from kvmprobe.model.one_reg import GUEST_SSP, msr_id
from kvmprobe.scenarios.catalog._starts import (
    CFG_ALONE,
    DATA_ALONE,
    EMPTY,
    NO_CET,
    NO_CPUID,
    NO_IBT,
    NO_SHSTK,
    NO_XFD,
    NO_XSAVES,
    NO_XSS,
    PLAIN,
    STARTS,
    TILES,
    Start,
    scenario,
)
from kvmprobe.scenarios.ops.lifecycle import CreateVm
from kvmprobe.scenarios.ops.msrs import (
    AccessCetMsr,
    GetListedMsrs,
    GetMsrs,
    GetXfd,
    RestoreListedMsrs,
    SetMsrs,
    SetXfd,
    SetXfdAsleep,
    SetXfdErr,
)
from kvmprobe.scenarios.ops.one_reg import GetOneReg, GetRegList, SetOneReg
from kvmprobe.scenarios.ops.run import RunUntilHalt
from kvmprobe.scenarios.ops.vcpu_state import CreateIrqchip
from kvmprobe.scenarios.ops.xcrs import GetXcrs
from kvmprobe.scenarios.ops.xsave import GetXsave2, SetXsave
from kvmprobe.scenarios.scenario import ANYWHERE, Need, Needs, ScenarioStep
from kvmprobe.xstate.features import FPSSE, XTILE, XFeature

if TYPE_CHECKING:
    from kvmprobe.model.host import HostProfile
    from kvmprobe.scenarios.ops import Op
    from kvmprobe.scenarios.scenario import Scenario

_XFD, _XFD_ERR, _XSS, _PAT, _CS = (
    Msr.IA32_XFD,
    Msr.IA32_XFD_ERR,
    Msr.IA32_XSS,
    Msr.IA32_PAT,
    Msr.IA32_SYSENTER_CS,
)
_NOWHERE = 0x4000_4000  # not an MSR of any processor or of KVM
_TILES = XFeature.XTILE_DATA.bit
_EVERY = (1 << 64) - 1
_U_CET, _SSPS = Msr.IA32_U_CET, tuple(range(Msr.IA32_PL0_SSP, Msr.IA32_PL3_SSP + 1))
# Each control bit; the address of a bitmap; SUPPRESS with TRACKER and without.
_U_CET_VALUES = (*(1 << nr for nr in range(16)), 0xC00, 0x3F, 0x7FFF_FFFF_C000, 3, 0)
_SSP_VALUES = (1, 2, 4, 8, (1 << 47) - 4, 1 << 47, 1 << 48, -(1 << 47) % (1 << 64), _EVERY - 3, 0)
_PRIVILEGE: Needs = frozenset({Need.PRIVILEGE})
_READ = (GetMsrs((_PAT, _CS, _XFD, _XFD_ERR, _XSS)),)
_IMAGE = (GetXsave2(), GetXcrs(), GetXfd())
_OTHER_PAT = 0x0706_0504_0100_0406
_DYNAMIC_VALUES = (_TILES, 0, *(1 << b for b in (0, 2, 9, 11, 17, 19, 63)), XTILE, _EVERY)
_XSS_VALUES = (0, 0x1800, 0, *(1 << b for b in (0, 8, 9, 10, 11, 12, 13, 15, 18, 63)), _EVERY, 0)
_LISTS: tuple[tuple[tuple[int, int], ...], ...] = (
    (),
    ((_CS, 1), (_PAT, _OTHER_PAT), (_XFD, 0), (_XFD_ERR, 0)),
    ((_CS, 2), (_XFD, 1), (_CS, 3)),
    ((_XFD, _EVERY), (_CS, 4)),
    ((_CS, 5), (_XFD_ERR, _EVERY), (_XFD, _TILES)),
    ((_CS, 6), (_NOWHERE, 0), (_CS, 7)),
    ((_CS, 8), (_XSS, 0), (_CS, 9)),
    ((_CS, 10), (_XSS, 0x1800), (_CS, 11)),
    ((_XFD, _TILES), (_XFD_ERR, _TILES), (_CS, 12)),
    ((_CS, 13), (_CS, 14), (_PAT, PAT_AT_RESET)),
    ((_XFD, 0), (_XFD_ERR, 0), (_XSS, 0)),
    ((_PAT, _OTHER_PAT), (_NOWHERE, 0), (_CS, 15)),
    ((_PAT, 0), (_CS, (1 << 32) - 1), (_CS, 20)),
    ((_CS, 17),) * 255,
    ((_CS, 18),) * 256,
    ((_CS, 19),) * 300,
)
_READS: tuple[tuple[int, ...], ...] = (
    (),
    (_XFD, _XFD_ERR, _XSS),
    (_XSS, _NOWHERE, _XFD),
    (_NOWHERE,),
    (_PAT,) * 255,
    (_PAT,) * 256,
)


def _each(*ops: Op, reading: tuple[Op, ...]) -> tuple[ScenarioStep, ...]:
    return tuple(ScenarioStep(op, reading) for op in ops)


def _xfd(start: Start) -> tuple[Scenario, ...]:
    return (
        _family("xfd", start, *_each(*map(SetXfd, _DYNAMIC_VALUES), reading=(GetXfd(),))),
        _family("xfd-err", start, *_each(*map(SetXfdErr, _DYNAMIC_VALUES), reading=(GetXfd(),))),
    )


def _xss(start: Start) -> Scenario:
    ops = (SetMsrs(((_XSS, value),)) for value in _XSS_VALUES)
    return _family("xss", start, *_each(*ops, reading=(GetMsrs((_XSS,)),)))


def _values(start: Start) -> tuple[Scenario, ...]:
    lists = (SetMsrs(entries) for entries in _LISTS)
    reads = (ScenarioStep(GetMsrs(indices)) for indices in _READS)
    return (
        *_xfd(start),
        _xss(start),
        _family("lists", start, *_each(*lists, reading=_READ)),
        _family("reads", start, *reads),
    )


def _with_irqchip(start: Start) -> Start:
    """Return it with an interrupt controller, without which KVM_ASYNC_PF_INT cannot be written."""
    at = start.ops.index(CreateVm()) + 1
    return replace(start, ops=(*start.ops[:at], CreateIrqchip(), *start.ops[at:]))


def _family(row: str, start: Start, *steps: ScenarioStep, needs: Needs = ANYWHERE) -> Scenario:
    return scenario("msrs", row, start, *steps, needs=needs)


def _pat(start: Start) -> Scenario:
    """Each memory type, and an invalid one, in the first field and in the last."""
    kinds = (SetMsrs(((_PAT, kind << place),)) for kind in range(9) for place in (0, 56))
    return _family("pat", start, *_each(*kinds, reading=_READ))


def _listed(start: Start) -> Scenario:
    """Save and restore all; without CPUID, listed MSRs of absent features may be unreadable."""
    ops = (GetListedMsrs(), RestoreListedMsrs(0), RestoreListedMsrs(_TILES))
    return _family("listed", _with_irqchip(start), *_each(*ops, reading=_READ))


def _one_reg(start: Start) -> Scenario:
    """Ids of general registers, or with another size, type or architecture, do not exist."""
    xfd, xss = msr_id(_XFD), msr_id(_XSS)
    no_ids = (0, xfd & ~(0xFF << 56), xfd ^ 1 << 52, xfd ^ 1 << 40, xfd ^ 1 << 48, msr_id(_NOWHERE))
    ops: list[Op] = [GetRegList(0), GetRegList(1), *map(GetOneReg, (xfd, xss, msr_id(_PAT)))]
    ops += [GetOneReg(number) for number in no_ids]
    ops += [SetOneReg(msr_id(_CS), 7), SetOneReg(msr_id(_PAT), _OTHER_PAT), SetOneReg(no_ids[2], 0)]
    ops += [SetOneReg(xfd, value) for value in (_TILES, 1, 0, _EVERY)]
    ops += [SetOneReg(xss, value) for value in (0x1800, 1, 0)]
    return _family("one-reg", start, *_each(*ops, reading=_READ))


def _asleep() -> tuple[Scenario, ...]:
    """Arm XFD in a thread that sleeps in the call, with XSTATE before or after it."""
    sleep, load, run = SetXfdAsleep(_TILES), SetXsave(XTILE | FPSSE), RunUntilHalt()
    orders: dict[str, tuple[Op, ...]] = {
        "asleep-behind-xsave": (load, sleep, run),
        "asleep-before-xsave": (sleep, load, run),
        "asleep-and-disarmed": (load, sleep, SetXfd(0), run),
        "asleep-disarming": (load, SetXfdAsleep(0), run),
        "asleep-refused": (load, SetXfdAsleep(1), SetXfdAsleep(_EVERY), run),
    }
    return tuple(
        _family(row, TILES, *_each(*ops, reading=_IMAGE), needs=_PRIVILEGE)
        for row, ops in orders.items()
    )


def _cet(host: HostProfile) -> tuple[Scenario, ...]:
    """MSRs in XSTATE, if there are any: access to them loads and saves the guest FPU."""
    access = AccessCetMsr()
    plain = SetXsave(host.kvm_xcr0 & ~XTILE & 0xE7)
    read, one_reg = GetMsrs((_U_CET, *_SSPS, _XFD)), msr_id(_U_CET)
    values = [SetMsrs(((_U_CET, value), (_CS, 30))) for value in _U_CET_VALUES]
    stacks = [SetMsrs(((_SSPS[-1], value), (_CS, 31))) for value in _SSP_VALUES]
    each = [SetMsrs(((ssp, 4 * number), (_CS, 32))) for number, ssp in enumerate(_SSPS, 1)]
    single = (SetOneReg(one_reg, 0), GetOneReg(one_reg), SetOneReg(one_reg, 1 << 6))
    ops = (plain, access, *values, *stacks, *each, plain, *single, SetMsrs(((_U_CET, 0),)), read)
    armed = (SetXsave(XTILE), SetXfd(_TILES), access)
    armed_one_reg = (SetXsave(XTILE), SetXfd(_TILES), GetOneReg(one_reg))
    disarmed = (SetXfd(_TILES), SetXsave(XTILE), access, SetXfd(0), access)
    lists = (GetRegList(0), GetRegList(1))
    return (
        *(
            _family("cet", start, *_each(*ops, read, *lists, reading=_IMAGE))
            for start in (NO_CPUID, PLAIN, NO_SHSTK, NO_IBT, NO_CET)
        ),
        _family("cet", TILES, *_each(SetXsave(XTILE), access, *ops, reading=_IMAGE)),
        _family("cet-xsave-then-xfd", TILES, *_each(*armed, reading=_IMAGE)),
        _family("cet-one-reg-then-xfd", TILES, *_each(*armed_one_reg, reading=_IMAGE)),
        _family("cet-xfd-then-xsave", TILES, *_each(*disarmed, reading=_IMAGE)),
    )


def _ssp(start: Start) -> Scenario:
    """Write the guest's SSP, try ids beside it, and enter the guest."""
    beside = (GUEST_SSP + 1, GUEST_SSP ^ 1 << 52, GUEST_SSP ^ 1 << 40, GUEST_SSP ^ 1 << 48)
    ops: list[Op] = [GetRegList(0), GetRegList(1), GetRegList(2)]
    ops += [SetOneReg(GUEST_SSP, value) for value in _SSP_VALUES]
    ops += [op for number in beside for op in (GetOneReg(number), SetOneReg(number, 0))]
    ops += [SetOneReg(GUEST_SSP, 0x1000), SetMsrs(((_SSPS[0], 0x2000),)), RunUntilHalt()]
    return _family("ssp", start, *_each(*ops, reading=(GetOneReg(GUEST_SSP),)))


def _outside_xstate(start: Start) -> Scenario:
    """Write the MSRs of CET that are not in XSTATE: no access to them loads the guest FPU."""
    s_cet, table = Msr.IA32_S_CET, Msr.IA32_INT_SSP_TAB
    ops: list[Op] = [SetMsrs(((s_cet, value), (_CS, 33))) for value in _U_CET_VALUES]
    ops += [SetMsrs(((table, value), (_CS, 34))) for value in _SSP_VALUES]
    ops += [SetMsrs(((s_cet, 3), (table, 0x1000))), RunUntilHalt()]
    read = (GetMsrs((s_cet,)), GetMsrs((table,)), GetXsave2())
    return _family("cet-outside-xstate", start, *_each(*ops, reading=read))


def scenarios(host: HostProfile) -> tuple[Scenario, ...]:
    """Return values, each in a guest without CPUID, with CPUID and with tiles.

    Then writes of XFD in a thread that sleeps, and MSRs that are in XSTATE.
    """
    return (
        *(s for start in STARTS for s in _values(start)),
        *(s for start in (EMPTY, CFG_ALONE, DATA_ALONE, NO_XFD) for s in _xfd(start)),
        *(_xss(start) for start in (EMPTY, NO_XSAVES, NO_XSS)),
        *(_listed(start) for start in STARTS[1:]),
        *(_one_reg(start) for start in STARTS),
        _pat(TILES),
        *_asleep(),
        *_cet(host),
        *(
            row(start)
            for row in (_ssp, _outside_xstate)
            for start in (NO_CPUID, PLAIN, NO_SHSTK, NO_IBT, NO_CET)
        ),
    )
