"""A saved guest in a new VM: its state is restored in an order, and it checks itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from kvmprobe.abi.numbers import Msr, msr_name
from kvmprobe.abi.payload import PayloadOp
from kvmprobe.abi.tables import XCRS
from kvmprobe.errors import ExitCode, KvmprobeError, ScenarioError, UsageError, errno_name
from kvmprobe.model.control import Cr4
from kvmprobe.model.guest_migration import Part
from kvmprobe.model.guest_vector import VectorFile
from kvmprobe.model.one_reg import GUEST_SSP
from kvmprobe.model.outcome import Done, Failed, HostDies
from kvmprobe.model.run import run_immediate_exit
from kvmprobe.model.sregs import legal_cr4
from kvmprobe.moves.guests import Use, pieces
from kvmprobe.moves.orders import PARTS, msrs_of, with_components
from kvmprobe.moves.saved_guest import as_bytes
from kvmprobe.moves.saving import ASK
from kvmprobe.scenarios.catalog.guest_cet import CET_MSRS, SAVE_CET
from kvmprobe.scenarios.cpuid_tables import Table
from kvmprobe.scenarios.domain import Domain
from kvmprobe.scenarios.ops.cpuid import SetCpuid2
from kvmprobe.scenarios.ops.guest import GuestExecute, MapPayload, SharePayload
from kvmprobe.scenarios.ops.guest_control import GuestRdmsr, GuestWrmsr, GuestXgetbv
from kvmprobe.scenarios.ops.guest_migration import RestoreVcpu, SaveVcpu
from kvmprobe.scenarios.ops.guest_shadow_stack import GuestRdssp
from kvmprobe.scenarios.ops.guest_tiles import GuestTileloadd, GuestTilestored
from kvmprobe.scenarios.ops.guest_vector import GuestStore
from kvmprobe.scenarios.ops.guest_xsave import GuestFxsave, GuestXsave
from kvmprobe.scenarios.ops.lifecycle import CreateVcpu, CreateVm, OpenKvm
from kvmprobe.scenarios.ops.literal import SetCpuid2Entries
from kvmprobe.scenarios.ops.msrs import SetMsrs
from kvmprobe.scenarios.ops.one_reg import SetOneReg
from kvmprobe.scenarios.scenario import Need, Scenario, ScenarioStep
from kvmprobe.xstate.cpuid import CpuidEntry, CpuidTable
from kvmprobe.xstate.features import DYNAMIC, XTILE, XFeature, names
from kvmprobe.xstate.image import xstate_bv_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from kvmprobe.model.host import HostProfile
    from kvmprobe.model.machine import Machine
    from kvmprobe.model.outcome import Outcome, Step
    from kvmprobe.moves.saved_guest import SavedGuest
    from kvmprobe.scenarios.ops import Op
    from kvmprobe.scenarios.presets import Preset
    from kvmprobe.vmm.findings import Piece

_VCPU, _OTHER_VM, _OTHER_VCPU = "vcpu0", "vm1", "vcpu1"
_TILES = range(8)
_PARTS = {**PARTS, "xsave-all": Part.XSAVE}
# They restore nothing of a vCPU without an interrupt controller.
_NOTHING = frozenset({"mp-state", "lapic", "sweep"})


def _restores(guest: SavedGuest, order: Preset, host: HostProfile) -> tuple[Op, ...]:
    """Return the steps before the guest is entered: those that make its VM, then the order's.

    Its memory is the payload's, in which another vCPU has executed one command.
    """
    asks = (ASK,) if guest.table.xcr0 & DYNAMIC and host.amx else ()
    return (
        *asks,
        OpenKvm(),
        CreateVm(_OTHER_VM),
        MapPayload(_OTHER_VM),
        CreateVcpu(_OTHER_VCPU, _OTHER_VM),
        SetCpuid2(Table.NO_AMX, vcpu=_OTHER_VCPU),
        GuestExecute(PayloadOp.NOP, _OTHER_VCPU),
        CreateVm(),
        SharePayload("vm"),
        CreateVcpu(),
        *(op for word in order.tokens for op in _restored(guest, word, host)),
    )


def _restored(guest: SavedGuest, word: str, host: HostProfile) -> Iterator[Op]:
    if word == "cpuid":
        yield SetCpuid2Entries(guest.table.entries)
    elif word in _PARTS:
        yield RestoreVcpu(_PARTS[word], _VCPU, content=_content(guest, word, host))
    elif word == "ssp":
        if guest.ssp is not None:
            yield SetOneReg(GUEST_SSP, guest.ssp)
    elif word not in _NOTHING:
        yield from _msrs(guest, word, host)


def _content(guest: SavedGuest, word: str, host: HostProfile) -> bytes:
    content = guest.part(_PARTS[word])
    if content is None:
        raise UsageError(
            f"the order restores {word!r}, which order {guest.order!r} did not save; name another"
        )
    if word == "xsave-all":
        content = with_components(content, xstate_bv_of(content) & ~XTILE)
    if word.startswith("xsave"):
        # A VMM's buffer is as large as KVM_CAP_XSAVE2 says on the target.
        return content.ljust(host.uabi_size(host.kvm_xcr0), b"\0")
    return content


def _msrs(guest: SavedGuest, word: str, host: HostProfile) -> Iterator[Op]:
    known = guest.values
    entries = tuple(
        (index, known[index])
        for index in msrs_of(word)
        if index in known and (known[index] or index in host.msrs)
    )
    if not entries and not msrs_of(word):
        raise UsageError(f"the order has {word!r}, which a saved guest has not")
    if word == "each-msr":
        yield from (SetMsrs((entry,)) for entry in entries)
    elif entries:
        yield SetMsrs(entries)


class NotTaken(KvmprobeError):
    """The target does not take the guest; nothing ran."""

    exit_code = ExitCode.DIVERGED


class Resumption(NamedTuple):
    """How a saved guest goes on.

    :ivar scenario: restore, then the guest reads all it had
    :ivar lost: the pieces that it does not have when it is entered
    :ivar refused: the call that fails, with which the scenario ends; empty if none does
    """

    scenario: Scenario
    lost: tuple[Piece, ...] = ()
    refused: str = ""


def resuming(guest: SavedGuest, order: Preset, host: HostProfile) -> Resumption:
    """Return how a guest goes on whose calls all succeed.

    :raises UsageError: the file lacks what the order restores
    :raises NotTaken: a call fails on the host, or takes it down
    """
    domain, ops = Domain(host), _restores(guest, order, host)
    for op in ops:
        before = domain.machine
        outcome = _followed(domain, op).outcome
        if why := _refusal(op, outcome):
            lacks = _lacking(op, before)
            missing = f", which lacks {lacks}" if lacks else ""
            raise NotTaken(f"nothing ran: {op.text} {why} on this target{missing}")
    return _entered(guest, order, ops, domain)


def trying(guest: SavedGuest, order: Preset, host: HostProfile) -> Resumption:
    """Return the same up to the first call that fails.

    :raises UsageError: the file lacks what the order restores
    :raises NotTaken: a call takes the host down, or the model does not cover it
    """
    domain = Domain(host)
    done: list[Op] = []
    for op in _restores(guest, order, host):
        outcome = _followed(domain, op).outcome
        done.append(op)
        if isinstance(outcome, HostDies):
            raise NotTaken(f"nothing ran: {op.text} {_refusal(op, outcome)}")
        if _refusal(op, outcome):
            return Resumption(_scenario(guest, order, done), refused=op.call_name)
    return _entered(guest, order, done, domain)


def _entered(
    guest: SavedGuest, order: Preset, restored: Iterable[Op], domain: Domain
) -> Resumption:
    """Return how a restored guest goes on.

    :param domain: behind the calls that restore it
    """
    entered = run_immediate_exit(domain.machine, _VCPU)
    if isinstance(entered.outcome, HostDies):
        raise NotTaken("nothing ran: KVM_RUN after it would take this target down")
    has = pieces(entered.machine.host, entered.machine.vcpu(_VCPU))
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
    host, vcpu = machine.host, machine.vcpu(_VCPU)
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
            cr4 = op.registers["cr4"]
            bits = (bit for bit in Cr4 if cr4 & bit.bit)
            illegal = (bit.name for bit in bits if not legal_cr4(host, vcpu.cpuid, bit.bit))
            return ", ".join(f"CR4.{name}" for name in illegal)
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
    yield from (SaveVcpu(part, _VCPU) for part in (Part.XSAVE, Part.XCRS, Part.MSRS))
