"""What the calls of a restore order carry, and what the target does with them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from kvmprobe.abi import ioctls
from kvmprobe.abi.numbers import Msr
from kvmprobe.model import fpu, msr, one_reg, sregs, uabi, xcr
from kvmprobe.model.exported import fullest_image
from kvmprobe.model.guest_cpuid import set_cpuid2
from kvmprobe.model.guest_migration import MSR_LISTS, Part
from kvmprobe.model.machine import GuestCpuid, Machine
from kvmprobe.model.outcome import Done, OneOf
from kvmprobe.moves.guests import CR4, MXCSR
from kvmprobe.scenarios.calls import VCPU
from kvmprobe.vmm.findings import Piece, PieceKind
from kvmprobe.vmm.follow import KNOWN
from kvmprobe.vmm.pieces import SSP, XCR0
from kvmprobe.xstate.features import FPSSE, XTILE, XFeature, numbers
from kvmprobe.xstate.image import FP_INIT, SSE_SIZE, XsaveFields, encode, xstate_bv_of
from kvmprobe.xstate.layout import HEADER_OFFSET

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from kvmprobe.model.host import HostProfile
    from kvmprobe.model.machine import Vcpu
    from kvmprobe.model.outcome import Step

# What `save` and `restore` move of a vCPU, by word.
PARTS = {
    "regs": Part.REGS,
    "sregs": Part.SREGS,
    "sregs2": Part.SREGS,
    "xcrs": Part.XCRS,
    "xsave": Part.XSAVE,
    "events": Part.EVENTS,
    "debugregs": Part.DEBUGREGS,
}
_LISTS: Mapping[str, tuple[Msr, ...]] = {
    **{part: MSR_LISTS[part] for part in (Part.OTHER_MSRS, Part.XSS_MSRS, Part.CET_MSRS)},
    "msrs": (Msr.IA32_PAT, *MSR_LISTS[Part.MSRS]),
    "xss": (Msr.IA32_XSS,),
}
_SAME = {"each-msr": "msrs"}
_COMPONENTS = tuple(Piece(PieceKind.COMPONENT, nr) for nr in XFeature)
_LEGACY = tuple(Piece(PieceKind.COMPONENT, nr) for nr in numbers(FPSSE))


class Saved(NamedTuple):
    """A guest as it is when its VMM reads its state.

    :ivar host: that the VMM reads it on
    :ivar target: that the VMM restores it on
    """

    host: HostProfile
    vcpu: Vcpu
    target: HostProfile


@dataclass(frozen=True, slots=True)
class Call:
    """One call of an order, with what the source returned.

    :ivar carries: the pieces that it replaces
    :ivar make: the model's step on the target
    :ivar msrs: indices and values, of KVM_SET_MSRS
    :ivar image: of KVM_SET_XSAVE
    """

    name: str
    carries: tuple[Piece, ...]
    make: Callable[[Machine], Step]
    msrs: tuple[tuple[int, int], ...] = ()
    image: bytes = b""


def calls(word: str, saved: Saved) -> tuple[Call, ...]:
    """Return the calls of one word of an order (:data:`scenarios.presets.CALLS`).

    Calls that move no state of the FPU are left out.  So are MSRs that the model has no rule for,
    those that KVM does not list on the source, and those of value 0 that it does not list on the
    target: VMMs go by KVM_GET_MSR_INDEX_LIST.
    """
    if word in _LISTS:
        return _set_msrs(saved, _LISTS[word])
    of_word = _CALLS.get(word)
    return of_word(saved) if of_word else ()


def _cpuid(saved: Saved) -> tuple[Call, ...]:
    return (_set_cpuid2(saved.vcpu.cpuid or GuestCpuid()),)


def _no_cpuid(_saved: Saved) -> tuple[Call, ...]:
    return (_set_cpuid2(GuestCpuid()),)


def _set_cpuid2(table: GuestCpuid) -> Call:
    return Call(ioctls.SET_CPUID2.name, (), lambda machine: set_cpuid2(machine, VCPU, table))


def _sregs(saved: Saved) -> tuple[Call, ...]:
    return (_set_sregs(ioctls.SET_SREGS.name, saved.vcpu),)


def _sregs2(saved: Saved) -> tuple[Call, ...]:
    return (_set_sregs(ioctls.SET_SREGS2.name, saved.vcpu),)


def _set_sregs(name: str, vcpu: Vcpu) -> Call:
    return Call(name, (CR4,), lambda machine: sregs.restore_sregs(machine, VCPU, vcpu))


def _xcrs(saved: Saved) -> tuple[Call, ...]:
    def make(machine: Machine) -> Step:
        return xcr.set_xcr0(machine, VCPU, saved.vcpu.xcr0)

    return (Call(ioctls.SET_XCRS.name, (XCR0,), make),)


def _xsave(saved: Saved) -> tuple[Call, ...]:
    return (set_image(fullest_image(saved.host, saved.vcpu)),)


def _xsave_all(saved: Saved) -> tuple[Call, ...]:
    image = fullest_image(saved.host, saved.vcpu)
    return (set_image(with_components(image, xstate_bv_of(image) & ~XTILE)),)


def _xsave_init(saved: Saved) -> tuple[Call, ...]:
    contents = {int(XFeature.FP): FP_INIT, int(XFeature.SSE): bytes(SSE_SIZE)}
    fields = XsaveFields(xstate_bv=FPSSE, contents=contents)
    return (set_image(encode(fields, saved.host.layout, saved.vcpu.fpstate.uabi_size)),)


def set_image(image: bytes) -> Call:
    """Return KVM_SET_XSAVE of an image, in a buffer of the size that the target needs."""

    def make(machine: Machine) -> Step:
        size = machine.vcpu(VCPU).fpstate.uabi_size
        return uabi.set_xsave(machine, VCPU, image.ljust(size, b"\0"))

    return Call(ioctls.SET_XSAVE.name, (*_COMPONENTS, MXCSR), make, image=image)


def with_components(image: bytes, xstate_bv: int) -> bytes:
    """Return an image with another XSTATE_BV."""
    end = HEADER_OFFSET + 8
    return image[:HEADER_OFFSET] + xstate_bv.to_bytes(8, "little") + image[end:]


def _fpu(saved: Saved) -> tuple[Call, ...]:
    area = b""
    match fpu.get_fpu(_source(saved), VCPU).outcome:
        case Done(memory=memory) | OneOf(choices=(Done(memory=memory), *_)) if memory:
            area = memory.content
    return (Call(ioctls.SET_FPU.name, _LEGACY, lambda machine: fpu.set_fpu(machine, VCPU, area)),)


def _ssp(saved: Saved) -> tuple[Call, ...]:
    if not isinstance(one_reg.get_one_reg(_source(saved), VCPU, one_reg.GUEST_SSP).outcome, Done):
        return ()
    value = saved.vcpu.ssp

    def make(machine: Machine) -> Step:
        return one_reg.set_one_reg(machine, VCPU, one_reg.GUEST_SSP, value)

    return (Call(ioctls.SET_ONE_REG.name, (SSP,), make),)


def _source(saved: Saved) -> Machine:
    return Machine.fresh(saved.host).with_vcpu(VCPU, saved.vcpu)


def msrs_of(word: str, host: HostProfile | None = None) -> tuple[int, ...]:
    """Return the MSRs of a word that the model knows; none if it is about other state.

    :param host: whose KVM lists them; None for all
    """
    indices = (
        tuple(sorted(KNOWN)) if word == "listed-msrs" else _LISTS.get(_SAME.get(word, word), ())
    )
    return tuple(index for index in indices if host is None or index in host.msrs)


def _listed_msrs(saved: Saved) -> tuple[Call, ...]:
    return _set_msrs(saved, sorted(saved.host.msrs))


def _each_msr(saved: Saved) -> tuple[Call, ...]:
    return tuple(call for index in _LISTS["msrs"] for call in _set_msrs(saved, (index,)))


def _set_msrs(saved: Saved, indices: Iterable[int]) -> tuple[Call, ...]:
    read = {
        index: msr.read(saved.host, saved.vcpu, index)
        for index in indices
        if index in saved.host.msrs & KNOWN
    }
    listed = saved.target.msrs
    entries = tuple((i, v) for i, v in read.items() if v or (v is not None and i in listed))

    def make(machine: Machine) -> Step:
        return msr.set_msrs(machine, VCPU, entries)

    carries = tuple(Piece(PieceKind.MSR, index) for index, _ in entries)
    return (Call(ioctls.SET_MSRS.name, carries, make, msrs=entries),) if entries else ()


_CALLS: Mapping[str, Callable[[Saved], tuple[Call, ...]]] = {
    "cpuid": _cpuid,
    "no-cpuid": _no_cpuid,
    "sregs": _sregs,
    "sregs2": _sregs2,
    "xcrs": _xcrs,
    "xsave": _xsave,
    "xsave-all": _xsave_all,
    "xsave-init": _xsave_init,
    "fpu": _fpu,
    "ssp": _ssp,
    "listed-msrs": _listed_msrs,
    "each-msr": _each_msr,
}
