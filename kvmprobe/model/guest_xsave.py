"""The XSAVE feature set in a guest (SDM vol.1 §13.7 to §13.14), and FXSAVE."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from kvmprobe.abi.payload import RESULT_SIZE
from kvmprobe.model import cet
from kvmprobe.model.control import Cr0
from kvmprobe.model.freedom import Freedom
from kvmprobe.model.guest import Vector, disabled, instruction_rule
from kvmprobe.model.outcome import ExpectedBytes, Unspecified
from kvmprobe.model.rule import KernelFile, KernelSource, ManualSource, Rule
from kvmprobe.model.x87 import unspecified
from kvmprobe.xstate.cpuid import LEAF_XSTATE, XSAVEC_BIT, XSAVEOPT_BIT, XSAVES_BIT, Register
from kvmprobe.xstate.features import FPSSE, SSE_YMM, XFeature, has, numbers
from kvmprobe.xstate.image import FP_INIT, MXCSR_INIT, SSE_SIZE, place_of
from kvmprobe.xstate.layout import (
    EXTENDED_OFFSET,
    HEADER_OFFSET,
    MXCSR,
    Component,
    Layout,
)

if TYPE_CHECKING:
    from kvmprobe.model.guest import Guest
    from kvmprobe.model.host import HostProfile

COMPACTED = 1 << 63
_SUPERVISOR = sum(nr.bit for nr in cet.COMPONENTS)
_ALIGNMENT = 64
_HEADER = struct.Struct("<QQ")


class SaveForm(StrEnum):
    """An instruction that saves."""

    XSAVE = "xsave"
    XSAVEOPT = "xsaveopt"
    XSAVEC = "xsavec"
    XSAVES = "xsaves"

    @property
    def compacts(self) -> bool:
        """Whether it writes the compacted format."""
        return self in {SaveForm.XSAVEC, SaveForm.XSAVES}


class RestoreForm(StrEnum):
    """An instruction that restores."""

    XRSTOR = "xrstor"
    XRSTORS = "xrstors"


@dataclass(frozen=True, slots=True)
class Area:
    """What an XSAVE area in memory says.

    :ivar reserved: bytes 16 to 63 of its header
    """

    content: bytes
    xstate_bv: int
    xcomp_bv: int
    mxcsr: int
    reserved: bytes

    @classmethod
    def of(cls, memory: bytes) -> Area:
        """Take the header apart."""
        xstate_bv, xcomp_bv = _HEADER.unpack_from(memory, HEADER_OFFSET)
        mxcsr = struct.unpack_from("<I", memory, MXCSR.start)[0]
        reserved = memory[HEADER_OFFSET + _HEADER.size : EXTENDED_OFFSET]
        return cls(memory, xstate_bv, xcomp_bv, mxcsr, reserved)


def compacted_layout(host: HostProfile, xcomp_bv: int) -> Layout:
    """Return the places of components, supervisor ones too, in the compacted format.

    :see: SDM vol.1 §13.4.3 "Extended Region of an XSAVE Area"
    """
    places: list[Component] = []
    end = EXTENDED_OFFSET
    for nr in numbers(xcomp_bv & ~COMPACTED & ~FPSSE):
        leaf = host.cpu.at(LEAF_XSTATE, nr)
        start = end + 63 & ~63 if leaf.ecx & 0b10 else end
        places.append(Component(nr, start, leaf.eax))
        end = places[-1].end
    return Layout(tuple(places))


XSAVE = Rule(
    "XSAVE and its forms save what is enabled and in use",
    ("INV-36",),
    (
        ManualSource(1, "13.7", "Operation of XSAVE"),
        ManualSource(1, "13.11", "Operation of XSAVES"),
        ManualSource(1, "13.14", "Extended Feature Disable (XFD)"),
        KernelSource(KernelFile.FPU_CORE, "fpu_swap_kvm_fpstate"),
    ),
)


def xsave(guest: Guest, form: SaveForm, before: bytes, offset: int = 0) -> Guest:
    """XSAVE, XSAVEOPT, XSAVEC or XSAVES over an area that held ``before``.

    What IA32_XFD disables is saved as if it were INIT, without #NM.  All but XSAVE leave a
    component in INIT state out; ``before`` must hold zeros there.

    :see: SDM vol.1 §13.7 to §13.11; §13.14 "Extended Feature Disable (XFD)"
    """
    _require_on_cpu(guest, form)
    _require_usable(guest, form is SaveForm.XSAVES, offset)
    vcpu = guest.vcpu
    known = vcpu.xcr0 | (vcpu.xss if form is SaveForm.XSAVES else 0)
    rfbm = known & guest.edx_eax
    in_use = guest.in_use & ~vcpu.xfd
    if form.compacts and guest.mxcsr != MXCSR_INIT:
        in_use |= XFeature.SSE.bit
    open_bits = rfbm & ~in_use & ~vcpu.xfd
    followed = open_bits & _written_if_in_use(form)
    saves = tuple(
        _saved_area(guest, form, before, rfbm, in_use | chosen, open_bits & ~followed)
        for chosen in _subsets(followed)
    )
    first = saves[0]
    alternatives = saves if followed else ()
    return guest._replace(
        memory=first.content, unspecified=first.unspecified, alternatives=alternatives
    )


def _written_if_in_use(form: SaveForm) -> int:
    """Return the components whose bytes in INIT state are not those of an untouched area.

    :see: SDM vol.1 §13.9 "Operation of XSAVEOPT", which saves MXCSR in any case
    """
    if form.compacts:
        return FPSSE
    return XFeature.FP.bit if form is SaveForm.XSAVEOPT else 0


def _subsets(bitmap: int) -> tuple[int, ...]:
    return tuple(chosen for chosen in range(bitmap + 1) if not chosen & ~bitmap)


def _saved_area(
    guest: Guest, form: SaveForm, before: bytes, rfbm: int, in_use: int, open_bits: int
) -> ExpectedBytes:
    """Return the area after a save by a processor that tracks ``in_use`` as not INIT."""
    memory, area = bytearray(before), Area.of(before)
    xstate_bv = rfbm & in_use | (0 if form.compacts else area.xstate_bv & ~rfbm)
    xcomp_bv = rfbm | COMPACTED if form.compacts else area.xcomp_bv
    _HEADER.pack_into(memory, HEADER_OFFSET, xstate_bv, xcomp_bv)
    layout = compacted_layout(guest.host, xcomp_bv) if form.compacts else guest.host.layout
    written = rfbm if form is SaveForm.XSAVE else rfbm & in_use
    for nr in numbers(written):
        _put(memory, nr, _saved(guest, nr), layout)
    found = [Unspecified(HEADER_OFFSET, _mask(open_bits), Freedom.XINUSE_OF_INIT)]
    if rfbm & (in_use & XFeature.SSE.bit if form.compacts else SSE_YMM):
        _put_mxcsr(memory, guest)
    if written & XFeature.FP.bit:
        found += unspecified(guest.host, guest.content(XFeature.FP))
    return ExpectedBytes(RESULT_SIZE, bytes(memory), tuple(found))


XRSTOR = Rule(
    "XRSTOR and XRSTORS load what is enabled, and the rest of RFBM becomes INIT",
    ("INV-36",),
    (
        ManualSource(1, "13.8", "Operation of XRSTOR"),
        ManualSource(1, "13.12", "Operation of XRSTORS"),
        ManualSource(1, "13.14", "Extended Feature Disable (XFD)"),
        KernelSource(KernelFile.FPU_CORE, "fpu_swap_kvm_fpstate"),
    ),
)


def xrstor(guest: Guest, form: RestoreForm, memory: bytes, offset: int = 0) -> Guest:
    """XRSTOR or XRSTORS: the area decides between standard and compacted format.

    Loading what IA32_XFD disables is #NM, initialising it is not.

    :see: SDM vol.1 §13.8 "Operation of XRSTOR", §13.12 "Operation of XRSTORS", §13.14
    """
    _require_usable(guest, form is RestoreForm.XRSTORS, offset)
    vcpu, area = guest.vcpu, Area.of(memory)
    known = vcpu.xcr0 | (vcpu.xss if form is RestoreForm.XRSTORS else 0)
    rfbm = known & guest.edx_eax
    compacted = bool(area.xcomp_bv & COMPACTED)
    loaded = rfbm & area.xstate_bv
    guest.require((_legal(guest, form, area, known, rfbm), Vector.GP))
    if loaded & vcpu.xfd:
        disabled(loaded & vcpu.xfd)
    layout = compacted_layout(guest.host, area.xcomp_bv) if compacted else guest.host.layout
    changes = {
        nr: _get(memory, nr, layout) if has(loaded, nr) else _init(guest, nr)
        for nr in numbers(rfbm)
    }
    mxcsr = guest.mxcsr
    if compacted and rfbm & XFeature.SSE.bit:
        mxcsr = area.mxcsr if loaded & XFeature.SSE.bit else MXCSR_INIT
    elif not compacted and rfbm & SSE_YMM:
        mxcsr = area.mxcsr
    if rfbm & XFeature.PKRU.bit:
        pkru = struct.unpack_from("<I", changes.pop(XFeature.PKRU))[0]
        guest = guest.with_vcpu(guest.vcpu._replace(pkru=pkru))
    for nr in numbers(rfbm & _SUPERVISOR):
        guest = guest.with_vcpu(cet.with_content(guest.vcpu, nr, changes.pop(nr)))
    return guest.with_state(changes, mxcsr)


def _require_on_cpu(guest: Guest, form: SaveForm) -> None:
    """Check that the CPU has the instruction, whatever the guest's CPUID says.

    :see: SDM vol.2 XSAVEOPT, XSAVEC; XSAVES needs a VM-execution control, see _require_usable
    """
    bit = {SaveForm.XSAVEOPT: XSAVEOPT_BIT, SaveForm.XSAVEC: XSAVEC_BIT}.get(form)
    guest.require((bit is None or _on_cpu(guest, bit), Vector.UD))


def _on_cpu(guest: Guest, bit: int) -> bool:
    return guest.host.cpu.has(LEAF_XSTATE, 1, Register.EAX, bit)


FXSAVE = instruction_rule("FXSAVE saves x87 and SSE state", "FXSAVE")


def fxsave(guest: Guest, before: bytes) -> Guest:
    """FXSAVE64: x87, MXCSR and XMM, in use or not.

    :see: SDM vol.2 FXSAVE; vol.1 §10.5 "FXSAVE and FXRSTOR Instructions"
    """
    guest.require((not guest.vcpu.cr0 & (Cr0.EM | Cr0.TS), Vector.NM))
    memory = bytearray(before)
    for nr in (XFeature.FP, XFeature.SSE):
        _put(memory, nr, _saved(guest, nr), guest.host.layout)
    _put_mxcsr(memory, guest)
    open_x87 = unspecified(guest.host, guest.content(XFeature.FP))
    return guest._replace(memory=bytes(memory), unspecified=open_x87)


FXRSTOR = instruction_rule("FXRSTOR loads x87 and SSE state", "FXRSTOR")


def fxrstor(guest: Guest, memory: bytes) -> Guest:
    """FXRSTOR64.

    :see: SDM vol.2 FXRSTOR
    """
    guest.require((not guest.vcpu.cr0 & (Cr0.EM | Cr0.TS), Vector.NM))
    mxcsr = struct.unpack_from("<I", memory, MXCSR.start)[0]
    guest.require((not mxcsr & ~guest.host.mxcsr_mask, Vector.GP))
    layout = guest.host.layout
    changes = {int(nr): _get(memory, nr, layout) for nr in (XFeature.FP, XFeature.SSE)}
    return guest.with_state(changes, mxcsr)


def _legal(guest: Guest, form: RestoreForm, area: Area, known: int, rfbm: int) -> bool:
    compacted = bool(area.xcomp_bv & COMPACTED)
    if not compacted:
        mxcsr_matters = rfbm & SSE_YMM
        legal = form is RestoreForm.XRSTOR and not area.xstate_bv & ~known and not area.xcomp_bv
        legal = legal and not any(area.reserved[:8])
    else:
        mxcsr_matters = rfbm & area.xstate_bv & XFeature.SSE.bit
        legal = not (area.xcomp_bv & ~COMPACTED & ~known or area.xstate_bv & ~area.xcomp_bv)
        # A CPU without compaction wants zeros there.
        legal = legal and not any(area.reserved) and _on_cpu(guest, XSAVEC_BIT)
    return legal and not (mxcsr_matters and area.mxcsr & ~guest.host.mxcsr_mask)


def _require_usable(
    guest: Guest,
    needs_xsaves: bool,  # noqa: FBT001 - private
    offset: int,
) -> None:
    has = not needs_xsaves or guest.cpuid.has(LEAF_XSTATE, 1, Register.EAX, XSAVES_BIT)
    guest.require(
        (guest.cr4_osxsave and has, Vector.UD),
        (guest.cr0_ts_clear, Vector.NM),
        (offset % _ALIGNMENT == 0, Vector.GP),
    )


def _saved(guest: Guest, nr: int) -> bytes:
    return _init(guest, nr) if has(guest.vcpu.xfd, nr) else guest.content(nr)


def _init(guest: Guest, nr: int) -> bytes:
    match nr:
        case XFeature.FP:
            return FP_INIT
        case XFeature.SSE:
            return bytes(SSE_SIZE)
        case _:
            return bytes(guest.host.cpu.at(LEAF_XSTATE, nr).eax)


def _mask(bits: int) -> bytes:
    return bits.to_bytes(8, "little")


def _put_mxcsr(memory: bytearray, guest: Guest) -> None:
    struct.pack_into("<II", memory, MXCSR.start, guest.mxcsr, guest.host.mxcsr_mask)


def _put(memory: bytearray, nr: int, content: bytes, layout: Layout) -> None:
    for span in place_of(nr, layout):
        memory[span.start : span.stop] = content[: len(span)]
        content = content[len(span) :]


def _get(memory: bytes, nr: int, layout: Layout) -> bytes:
    return b"".join(memory[span.start : span.stop] for span in place_of(nr, layout))
