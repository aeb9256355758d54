"""A saved guest in a new VM: its state is restored in an order, and it checks itself."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, NamedTuple

from kvmprobe.abi import ioctls
from kvmprobe.abi.numbers import Msr, msr_name
from kvmprobe.abi.payload import PayloadOp
from kvmprobe.abi.tables import XCRS
from kvmprobe.errors import ExitCode, KvmprobeError, ScenarioError, errno_name
from kvmprobe.model.guest_migration import Part
from kvmprobe.model.guest_vector import VectorFile
from kvmprobe.model.outcome import Done, Failed, HostDies
from kvmprobe.model.run import run_immediate_exit
from kvmprobe.model.sregs import illegal_cr4
from kvmprobe.moves.guests import Use, pieces
from kvmprobe.moves.restore_ops import restores
from kvmprobe.moves.restoring import Into
from kvmprobe.moves.saved_guest import as_bytes
from kvmprobe.scenarios.calls import VCPU
from kvmprobe.scenarios.catalog.guest_cet import CET_MSRS, SAVE_CET
from kvmprobe.scenarios.domain import Domain
from kvmprobe.scenarios.ops.guest import GuestExecute
from kvmprobe.scenarios.ops.guest_control import GuestRdmsr, GuestWrmsr, GuestXgetbv
from kvmprobe.scenarios.ops.guest_migration import RestoreVcpu, SaveVcpu
from kvmprobe.scenarios.ops.guest_shadow_stack import GuestRdssp
from kvmprobe.scenarios.ops.guest_tiles import GuestTileloadd, GuestTilestored
from kvmprobe.scenarios.ops.guest_vector import GuestStore
from kvmprobe.scenarios.ops.guest_xsave import GuestFxsave, GuestXsave
from kvmprobe.scenarios.ops.literal import SetCpuid2Entries
from kvmprobe.scenarios.ops.msrs import SetMsrs
from kvmprobe.scenarios.ops.run import RunImmediateExit
from kvmprobe.scenarios.scenario import Need, Scenario, ScenarioStep
from kvmprobe.xstate.cpuid import CpuidEntry, CpuidTable
from kvmprobe.xstate.features import DYNAMIC, XFeature, names
from kvmprobe.xstate.image import xstate_bv_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from kvmprobe.model.host import HostProfile
    from kvmprobe.model.machine import Machine
    from kvmprobe.model.outcome import Outcome, Step
    from kvmprobe.moves.saved_guest import SavedGuest
    from kvmprobe.scenarios.model_run import ModelRun
    from kvmprobe.scenarios.ops import Op
    from kvmprobe.scenarios.presets import Preset
    from kvmprobe.vmm.findings import Piece

_TILES = range(8)


class NotTaken(KvmprobeError):
    """The target does not take the guest; nothing ran."""

    exit_code = ExitCode.DIVERGED


class Resumption(NamedTuple):
    """How a saved guest goes on.

    :ivar scenario: restore, then the guest reads all it had
    :ivar lost: the pieces that it does not have when it is entered
    :ivar refused: the call that fails, with which the scenario ends; empty if none does
    :ivar fatal: the call that the host does not survive, with which it ends; empty if none is
    """

    scenario: Scenario
    lost: tuple[Piece, ...] = ()
    refused: str = ""
    fatal: str = ""


def resuming(
    guest: SavedGuest, order: Preset, host: HostProfile, into: Into = Into.NEW
) -> Resumption:
    """Return how a guest goes on whose calls all succeed.

    :raises UsageError: the file lacks what the order restores
    :raises NotTaken: a call fails on the host, or takes it down
    """
    domain, ops = Domain(host), tuple(restores(guest, order, host, into))
    for op in ops:
        before = domain.machine
        outcome = _followed(domain, op).outcome
        if why := _refusal(op, outcome):
            lacks = _lacking(op, before)
            missing = f", which lacks {lacks}" if lacks else ""
            raise NotTaken(f"nothing ran: {op.text} {why} on this target{missing}")
    found = _entered(guest, order, ops, domain)
    if found.fatal:
        raise NotTaken(f"nothing ran: {found.fatal} after it would take this target down")
    return found


def trying(
    guest: SavedGuest, order: Preset, model_run: ModelRun, into: Into = Into.NEW
) -> Resumption:
    """Return the same up to the first call that fails, or that takes the host down.

    :param model_run: of the host, to share its steps
    :raises UsageError: the file lacks what the order restores
    :raises NotTaken: the model does not cover a call
    """
    host = model_run.host
    domain = Domain(host, model_run)
    done: list[Op] = []
    for op in restores(guest, order, host, into):
        outcome = _followed(domain, op).outcome
        done.append(op)
        if isinstance(outcome, HostDies):
            return Resumption(_scenario(guest, order, done), fatal=op.call_name)
        if _refusal(op, outcome):
            return Resumption(_scenario(guest, order, done), refused=op.call_name)
    return _entered(guest, order, done, domain)


def _entered(
    guest: SavedGuest, order: Preset, restored: Iterable[Op], domain: Domain
) -> Resumption:
    """Return how a restored guest goes on.

    :param domain: behind the calls that restore it
    """
    entered = run_immediate_exit(domain.machine, VCPU)
    if isinstance(entered.outcome, HostDies):
        first = next(_looks(guest.use))
        return Resumption(_scenario(guest, order, (*restored, first)), fatal=ioctls.RUN.name)
    has = pieces(entered.machine.host, entered.machine.vcpu(VCPU))
    lost = (
        piece
        for piece, value in guest.pieces.items()
        if piece not in has or as_bytes(has[piece]) != value
    )
    scenario = _scenario(guest, order, (*restored, *_possible(domain, guest.use)))
    return Resumption(scenario, tuple(lost))


def _scenario(guest: SavedGuest, order: Preset, ops: Iterable[Op]) -> Scenario:
    needs = frozenset({Need.GUEST_CODE})
    name = f"restore.{order.name}.{guest.use}"
    return Scenario(name, order.name, guest.use, tuple(map(ScenarioStep, ops)), needs)


def _possible(domain: Domain, use: Use) -> Iterator[Op]:
    """Yield what the guest executes; without what it has lost, some cannot be judged."""
    for op in _looks(use):
        if domain.meets(op):
            domain.follow(op)
            yield op


def _followed(domain: Domain, op: Op) -> Step:
    try:
        return domain.follow(op)
    except ScenarioError as error:
        raise NotTaken(f"nothing ran: the model does not cover {error}") from error


def _refusal(op: Op, outcome: Outcome) -> str:
    match outcome:
        case Failed(errno.EINTR) if isinstance(op, RunImmediateExit):
            return ""
        case Failed(number):
            return f"fails with {errno_name(number)}"
        case HostDies():
            return "would take the host down"
        case Done(count) if isinstance(op, SetMsrs) and count < len(op.entries):
            return f"does not take {msr_name(op.entries[count][0])}"
        case _:
            return ""


def _lacking(op: Op, machine: Machine) -> str:
    """Return what a call that fails asks for and the target does not give."""
    host, vcpu = machine.host, machine.vcpu(VCPU)
    match op:
        case SetCpuid2Entries():
            table = CpuidTable(tuple(map(CpuidEntry._make, op.leaves)))
            return _named(table.xcr0 & DYNAMIC & ~host.kvm_xcr0)
        case RestoreVcpu(part=Part.XSAVE):
            return _named(xstate_bv_of(op.content) & ~host.kvm_xcr0)
        case RestoreVcpu(part=Part.XCRS):
            (_, xcr0), *_ = XCRS.entries(op.content, 1)
            return _named(xcr0 & ~(vcpu.guest_xcr0 | XFeature.FP.bit))
        case RestoreVcpu(part=Part.SREGS):
            illegal = illegal_cr4(host, vcpu.cpuid, op.registers["cr4"])
            return ", ".join(f"CR4.{bit.name}" for bit in illegal)
        case _:
            return ""


def _named(components: int) -> str:
    return names(components) if components else ""


def _looks(use: Use) -> Iterator[Op]:
    yield GuestXgetbv(0)
    codes = (PayloadOp.READ_CR0, PayloadOp.READ_CR4, PayloadOp.STMXCSR, PayloadOp.RDPKRU)
    yield from (GuestExecute(code) for code in codes)
    if use is not Use.NO_TILES:
        yield from (GuestRdmsr(index) for index in (Msr.IA32_XFD, Msr.IA32_XFD_ERR))
    if use is Use.CET:
        yield from (GuestRdmsr(index) for index in (Msr.IA32_XSS, *CET_MSRS))
        yield GuestRdssp()
        yield SAVE_CET
    yield from map(GuestStore, VectorFile)
    yield GuestFxsave()
    yield GuestXsave()
    if use is Use.IN_NM:
        yield from (GuestTileloadd(0), GuestWrmsr(Msr.IA32_XFD_ERR, 0), GuestWrmsr(Msr.IA32_XFD, 0))
        yield GuestTileloadd(0)
    if use is not Use.NO_TILES:
        yield from (GuestTilestored(tile) for tile in _TILES)
    yield from (SaveVcpu(part, VCPU) for part in (Part.XSAVE, Part.XCRS, Part.MSRS))
