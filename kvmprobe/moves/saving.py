"""A guest that fills its state, and the calls with which a VMM saves it."""

from __future__ import annotations

from itertools import takewhile
from typing import TYPE_CHECKING

from kvmprobe import __version__
from kvmprobe.abi.numbers import Msr
from kvmprobe.model.control import Cr4
from kvmprobe.model.feature import SHSTK, offers
from kvmprobe.model.guest import PAYLOAD_CR4
from kvmprobe.model.one_reg import GUEST_SSP
from kvmprobe.moves.guests import Use, pieces
from kvmprobe.moves.orders import PARTS, msrs_of
from kvmprobe.moves.saved_guest import Had, SavedGuest, as_bytes, payload_hash
from kvmprobe.recordings.payloads import pack
from kvmprobe.scenarios.catalog.guest_cet import RESTORE_CET, S_CET, TOP
from kvmprobe.scenarios.cpuid_tables import Table
from kvmprobe.scenarios.ops.cpuid import SetCpuid2
from kvmprobe.scenarios.ops.guest import MapPayload
from kvmprobe.scenarios.ops.guest_control import GuestWriteCr4, GuestWrmsr, GuestXsetbv
from kvmprobe.scenarios.ops.guest_migration import SaveVcpu
from kvmprobe.scenarios.ops.guest_tiles import GuestTileloadd
from kvmprobe.scenarios.ops.guest_xsave import GuestXrstor
from kvmprobe.scenarios.ops.lifecycle import CreateVcpu, CreateVm, OpenKvm
from kvmprobe.scenarios.ops.msrs import GetMsrs, SetMsrs
from kvmprobe.scenarios.ops.one_reg import GetOneReg, SetOneReg
from kvmprobe.scenarios.ops.permission import RequestGuestPermission
from kvmprobe.scenarios.scenario import Need, Scenario, ScenarioStep
from kvmprobe.xstate.features import CET, DYNAMIC, MPX, XTILE, XFeature

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmprobe.model.host import HostProfile
    from kvmprobe.model.machine import Vcpu
    from kvmprobe.results.record import Target
    from kvmprobe.results.trace import Reply, Trace
    from kvmprobe.scenarios.ops import Op
    from kvmprobe.scenarios.presets import Preset

ASK = RequestGuestPermission(XFeature.XTILE_DATA)
_NEEDS = {
    Use.NO_TILES: frozenset({Need.GUEST_CODE}),
    Use.CET: frozenset({Need.GUEST_CODE, Need.CET}),
}
_WITH_AMX = frozenset({Need.GUEST_CODE, Need.AMX})


def saving(host: HostProfile, order: Preset, use: Use) -> Scenario:
    """Return the scenario in which a guest fills its state, and its VMM saves it."""
    filled = fills(host, host.kvm_xcr0, use)
    ops = (*_start(host, use), *filled, *reads(host, order))
    steps = tuple(map(ScenarioStep, ops))
    return Scenario(f"save.{order.name}.{use}", order.name, use, steps, _NEEDS.get(use, _WITH_AMX))


def guest_table(use: Use) -> Table:
    """Return the CPUID table of a guest: all that KVM supports, or without AMX."""
    return Table.NO_AMX if use is Use.NO_TILES else Table.FULL


def _start(host: HostProfile, use: Use) -> tuple[Op, ...]:
    asks = (ASK,) if host.amx and use is not Use.NO_TILES else ()
    given = SetCpuid2(guest_table(use))
    return (*asks, OpenKvm(), CreateVm(), MapPayload(), CreateVcpu(), given)


def fills(host: HostProfile, offered: int, use: Use) -> Iterator[Op]:
    """Yield what a guest executes to put a value in every component.

    :param offered: XCR0 as its CPUID has it
    """
    every = offered & ~MPX
    if use is Use.NO_TILES:
        every &= ~XTILE
    cr4 = PAYLOAD_CR4 | Cr4.OSXSAVE.bit | (Cr4.PKE.bit if every & XFeature.PKRU.bit else 0)
    if use is Use.CET:
        cr4 |= Cr4.CET.bit
        if offers(host, SHSTK):
            yield SetOneReg(GUEST_SSP, TOP)
            yield SetMsrs(((Msr.IA32_S_CET, S_CET),))
    yield GuestWriteCr4(cr4)
    yield GuestXsetbv(every)
    if use is Use.CET:
        yield GuestWrmsr(Msr.IA32_XSS, CET)
        yield RESTORE_CET
    yield GuestXrstor(every)
    if use in {Use.ARMED, Use.IN_NM}:
        yield GuestWrmsr(Msr.IA32_XFD, DYNAMIC)
    if use is Use.IN_NM:
        yield GuestTileloadd(0)


def reads(host: HostProfile, order: Preset) -> tuple[Op, ...]:
    """Return the calls with which a VMM saves what an order restores."""
    return tuple(dict.fromkeys(_reads(host, order)))


def _reads(host: HostProfile, order: Preset) -> Iterator[Op]:
    for word in order.tokens:
        if word in PARTS:
            yield SaveVcpu(PARTS[word])
        elif word == "ssp":
            yield GetOneReg(GUEST_SSP)
        elif indices := msrs_of(word, host):
            yield GetMsrs(indices)


def saved(
    host: HostProfile,
    scenario: Scenario,
    trace: Trace,
    vcpu: Vcpu,
    *,
    target: Target,
    processor: str,
) -> SavedGuest:
    """Return what was read of the guest at the scenario's end.

    :param scenario: its row is the order's name, its column the use
    :param vcpu: the guest as the model has it
    """
    parts: dict[str, bytes] = {}
    msrs: dict[str, int] = {}
    ssp: int | None = None
    ops = [op for _, op in scenario.ops()]
    read = takewhile(_is_read, reversed(list(zip(ops, _replies(trace), strict=True))))
    for op, reply in read:
        output = reply.output or b""
        match op:
            case SaveVcpu():
                parts[op.part] = output
            case GetMsrs():
                values = list(op.read(output).values())[: reply.result]
                msrs |= {hex(i): v for i, v in zip(op.indices, values, strict=False)}
            case GetOneReg() if reply.result >= 0:
                [ssp] = op.read(output).values()
    return SavedGuest(
        tool=f"kvmprobe {__version__}",
        source=target,
        processor=processor,
        order=scenario.row,
        use=Use(scenario.column),
        payload=payload_hash(),
        cpuid=pack(vcpu.cpuid.table.to_bytes() if vcpu.cpuid else b""),
        parts={name: pack(content) for name, content in parts.items()},
        msrs=msrs,
        had=tuple(Had(p, pack(as_bytes(v))) for p, v in pieces(host, vcpu).items()),
        ssp=ssp,
    )


def _is_read(call: tuple[Op, Reply]) -> bool:
    return isinstance(call[0], SaveVcpu | GetMsrs | GetOneReg)


def _replies(trace: Trace) -> list[Reply]:
    return [reply for step in trace.steps for reply in step.replies]
