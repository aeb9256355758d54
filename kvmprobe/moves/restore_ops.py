"""The steps that restore a saved guest in a new VM, in an order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.abi.payload import PayloadOp
from kvmprobe.errors import UsageError
from kvmprobe.model.guest_migration import Part
from kvmprobe.model.one_reg import GUEST_SSP
from kvmprobe.moves.guests import Use, other_use
from kvmprobe.moves.orders import PARTS, msrs_of, with_components
from kvmprobe.moves.restoring import Into
from kvmprobe.moves.saving import ASK, fills
from kvmprobe.scenarios.calls import VCPU
from kvmprobe.scenarios.cpuid_tables import Table
from kvmprobe.scenarios.ops.cpuid import SetCpuid2
from kvmprobe.scenarios.ops.guest import GuestExecute, MapPayload, SharePayload
from kvmprobe.scenarios.ops.guest_control import GuestCpuidLeaf
from kvmprobe.scenarios.ops.guest_migration import RestoreVcpu
from kvmprobe.scenarios.ops.lifecycle import CreateVcpu, CreateVm, OpenKvm
from kvmprobe.scenarios.ops.literal import SetCpuid2Entries
from kvmprobe.scenarios.ops.msrs import SetMsrs
from kvmprobe.scenarios.ops.one_reg import SetOneReg
from kvmprobe.scenarios.ops.run import RunImmediateExit
from kvmprobe.xstate.cpuid import LEAF_XSTATE
from kvmprobe.xstate.features import DYNAMIC, XTILE
from kvmprobe.xstate.image import xstate_bv_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmprobe.model.host import HostProfile
    from kvmprobe.moves.saved_guest import SavedGuest
    from kvmprobe.scenarios.ops import Op
    from kvmprobe.scenarios.presets import Preset

_OTHER_VM, _OTHER_VCPU = "vm1", "vcpu1"
_PARTS = {**PARTS, "xsave-all": Part.XSAVE}
# They restore nothing of a vCPU without an interrupt controller.
_NOTHING = frozenset({"mp-state", "lapic", "sweep"})


def restores(guest: SavedGuest, order: Preset, host: HostProfile, into: Into) -> Iterator[Op]:
    """Yield the steps before the guest is entered: those that make its vCPU, then the order's.

    Its memory is the payload's, in which another vCPU has executed one command.

    :raises UsageError: the order restores what the file lacks
    """
    if guest.table.xcr0 & DYNAMIC and host.amx:
        yield ASK
    yield from (OpenKvm(), CreateVm(_OTHER_VM), MapPayload(_OTHER_VM))
    yield from (CreateVcpu(_OTHER_VCPU, _OTHER_VM), SetCpuid2(Table.NO_AMX, vcpu=_OTHER_VCPU))
    yield GuestExecute(PayloadOp.NOP, _OTHER_VCPU)
    yield from (CreateVm(), SharePayload("vm"), CreateVcpu())
    if into is Into.USED:
        yield from _used(guest, host)
    for word in order.tokens:
        yield from _restored(guest, word, host)


def _used(guest: SavedGuest, host: HostProfile) -> Iterator[Op]:
    """Yield the steps of another guest with the same CPUID, up to the end of its last KVM_RUN.

    It executes CPUID after its last change of CR4, as systems do.
    """
    yield SetCpuid2Entries(guest.table.entries)
    amx = guest.use is not Use.NO_TILES and guest.table.xcr0 & DYNAMIC
    yield from fills(host, guest.table.xcr0 & host.kvm_xcr0, other_use(amx, guest.armed))
    yield GuestCpuidLeaf(LEAF_XSTATE, 0)
    yield RunImmediateExit()


def _restored(guest: SavedGuest, word: str, host: HostProfile) -> Iterator[Op]:
    if word == "cpuid":
        yield SetCpuid2Entries(guest.table.entries)
    elif word in _PARTS:
        yield RestoreVcpu(_PARTS[word], VCPU, content=_content(guest, word, host))
    elif word == "ssp":
        if guest.ssp is not None:
            yield SetOneReg(GUEST_SSP, guest.ssp)
    elif word not in _NOTHING:
        yield from _msrs(guest, word, host)


def _content(guest: SavedGuest, word: str, host: HostProfile) -> bytes:
    content = guest.part(_PARTS[word])
    if content is None:
        raise UsageError(
            f"the order restores {word!r}, which order {guest.order!r:.60} did not save; name "
            "another"
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
