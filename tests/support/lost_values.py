"""What a guest had, and what each answer that the model allows says of it: values that may be lost.

An answer is an image of KVM_GET_XSAVE, the structure of KVM_GET_FPU, or the area that the guest's
own XSAVE wrote.  It says what XRSTORS makes of it: SDM vol.1 §13.8, §13.12.
"""

from __future__ import annotations

import errno
from typing import NamedTuple

from kvmprobe.abi.payload import Registers
from kvmprobe.model import avx_left, guest_xsave
from kvmprobe.model.exported import images, visible_features
from kvmprobe.model.freedom import Freedom
from kvmprobe.model.guest import ExitToL1, Fault, entered
from kvmprobe.model.guest_xsave import RestoreForm, SaveForm
from kvmprobe.model.init_signal import taken
from kvmprobe.model.outcome import Done, Failed, HostDies, NotCovered, OneOf
from kvmprobe.scenarios.calls import VCPU, RunGuest, RunVcpu
from kvmprobe.scenarios.ops.guest import GuestOp
from kvmprobe.scenarios.ops.guest_xsave import GuestXsave
from kvmprobe.xstate.features import FPSSE, XFeature, numbers
from kvmprobe.xstate.fpu_area import FPU_SIZE, from_area
from kvmprobe.xstate.image import MXCSR_INIT, decode, init_content, significant_x87
from kvmprobe.xstate.tiles import configures, inside_shapes

MXCSR, POINTERS = "MXCSR", "x87 pointers"
_NOTHING = Registers()
_SUPERVISOR = XFeature.CET_USER.bit | XFeature.CET_KERNEL.bit
_FOP, _FIP, _FDP = slice(6, 8), slice(8, 16), slice(16, 24)


class Lost(NamedTuple):
    """A value that one of the legal answers lacks.

    :ivar value: component, ``MXCSR`` or ``x87 pointers``
    :ivar freedom: what may lose such a value; None if nothing may
    """

    value: str
    freedom: Freedom | None


def lost_in(before, op, step):
    """Yield what the step's answer, or a read of XSTATE after it, may lose of the guest's values.

    :param before: the machine before the step
    """
    outcome = step.outcome
    if isinstance(outcome, NotCovered | HostDies) or _is_not_made(outcome):
        return
    name = getattr(op, "vcpu", VCPU)
    vcpu, host = before.vcpus.get(name), before.host
    # What an AMD processor may have left leaves open which values the guest has.
    if vcpu is None or avx_left.may_show(host, vcpu.fpstate):
        return
    if isinstance(op.lower(host), RunVcpu | RunGuest):
        guest = _at_exit(host, taken(vcpu), op)
        yield from _lost_by_exit(guest, step.machine.vcpu(name))
        if isinstance(op, GuestXsave):
            yield from _lost_by_save(entered(host, taken(vcpu), _NOTHING), op, outcome)
    else:
        yield from _undecided(host, vcpu, outcome)


def _is_not_made(outcome):
    """Whether KVM refuses the ioctl itself: of another process, or of a closed descriptor."""
    return isinstance(outcome, Failed) and outcome.errno in {errno.EIO, errno.EBADF}


def _at_exit(host, vcpu, op):
    """The guest with its registers as they are when KVM saves them."""
    if not isinstance(op, GuestOp):
        return entered(host, vcpu, _NOTHING)
    execution = op.execution(host)
    guest = entered(host, vcpu, execution.registers)
    try:
        return execution.model(guest)
    except Fault as fault:
        return fault.before or guest
    except ExitToL1:
        return guest


def _lost_by_exit(guest, after):
    """Compare the registers with each image that may be read once they are saved.

    What IA32_XFD disables is not saved, and no answer has it: SDM vol.1 §13.14.
    """
    host = guest.host
    shown = visible_features(after) & ~guest.vcpu.xfd
    had = _values(_contents(guest), guest.mxcsr, shown)
    for expected in images(host, after):
        for image in _extremes(expected.image, expected.unspecified):
            yield from _missing(host, had, _told_by(host, image, shown), guest)


def _lost_by_save(guest, op, outcome):
    """Compare the registers with what XRSTOR or XRSTORS loads from each legal area."""
    form = RestoreForm.XRSTORS if op.saves is SaveForm.XSAVES else RestoreForm.XRSTOR
    known = guest.vcpu.xcr0 | (guest.vcpu.xss if form is RestoreForm.XRSTORS else 0)
    rfbm = known & op.rfbm & ~guest.vcpu.xfd & ~_SUPERVISOR
    for choice in _choices(outcome):
        if choice.memory is None:
            continue
        for area in _extremes(choice.memory.content, choice.memory.unspecified):
            given = Registers(rax=rfbm & 0xFFFF_FFFF, rdx=rfbm >> 32)
            loaded = guest_xsave.xrstor(_overwritten(guest, given), form, area)
            told = _values(_contents(loaded), loaded.mxcsr, rfbm)
            had = _values(_contents(guest), guest.mxcsr, rfbm)
            yield from _missing(guest.host, had, told, guest)


def _overwritten(guest, given):
    """The guest with other values in all registers, which a restore must replace."""
    state = {nr: b"\x55" * len(content) for nr, content in guest.state.items()}
    vcpu = guest.vcpu._replace(pkru=0x5555_5555)
    return guest._replace(vcpu=vcpu, state=state, mxcsr=0x1FBF, registers=given)


def _undecided(host, vcpu, outcome):
    """Compare the legal answers with each other: all must say the same."""
    told = []
    for choice in _choices(outcome):
        if choice.image is not None:
            shown = visible_features(vcpu)
            legal = _extremes(choice.image.image, choice.image.unspecified)
            told += [_told_by(host, image, shown) for image in legal]
        elif choice.memory is not None and len(choice.memory.content) == FPU_SIZE:
            areas = map(from_area, _extremes(choice.memory.content, choice.memory.unspecified))
            told += [_values(dict(enumerate(area)), MXCSR_INIT, FPSSE) for area in areas]
    for other in told[1:]:
        yield from _missing(host, told[0], other, entered(host, vcpu, _NOTHING))


def _choices(outcome):
    choices = outcome.choices if isinstance(outcome, OneOf) else (outcome,)
    return [choice for choice in choices if isinstance(choice, Done)]


def _extremes(content, places):
    """The content with every open bit clear, and with every one set."""
    clear, full = bytearray(content), bytearray(content)
    for place in places:
        for at, bits in enumerate(place.bits, place.offset):
            clear[at] &= ~bits & 0xFF
            full[at] |= bits
    return {bytes(clear), bytes(full)}


def _contents(guest):
    bitmap = guest.host.layout.bitmap | FPSSE
    return {nr: guest.content(nr) for nr in numbers(bitmap)}


def _told_by(host, image, shown):
    """The registers after a load of the image: SDM vol.1 §13.12, MXCSR comes with SSE alone."""
    fields = decode(image, host.layout)
    contents = {
        nr: content if fields.xstate_bv >> nr & 1 else init_content(nr, host.layout)
        for nr, content in fields.contents.items()
    }
    mxcsr = fields.mxcsr if fields.xstate_bv & XFeature.SSE.bit else MXCSR_INIT
    return _values(contents, mxcsr, shown)


def _values(contents, mxcsr, shown):
    found = {XFeature(nr).name: contents[nr] for nr in numbers(shown) if nr in contents}
    if "SSE" in found:
        found[MXCSR] = mxcsr
    if "PKRU" in found:
        found["PKRU"] = found["PKRU"][:4]
    if "FP" in found:
        found[POINTERS] = found["FP"][_FOP.start : _FDP.stop]
        found["FP"] = significant_x87(found["FP"])
    return found


def _missing(host, had, told, guest):
    missing = (name for name in had if told.get(name) != had[name])
    return (Lost(name, _excuse(host, name, guest)) for name in missing)


def _excuse(host, name, guest):
    """What may lose this value: by the SDM and the APM, not by the model."""
    contents = _contents(guest)
    configuration = contents.get(XFeature.XTILE_CFG, bytes(64))
    match name:
        case "x87 pointers":
            kept = host.keeps_x87_pointers and _representable(contents[XFeature.FP])
            return None if kept else Freedom.X87_POINTERS
        case "XTILE_CFG":
            legal = configures(configuration)
            return None if legal else Freedom.TILE_CONFIGURATION_ILLEGAL
        case "XTILE_DATA":
            tiles = contents[XFeature.XTILE_DATA]
            inside = configures(configuration) and inside_shapes(configuration, tiles)
            return None if inside else Freedom.TILES_OUTSIDE_CONFIGURATION
        case "SSE" | "YMM" | "MXCSR" if host.may_leave_avx:
            of_ymm = name == XFeature.YMM.name
            in_use = any(contents[XFeature.YMM if of_ymm else XFeature.SSE])
            in_use |= not of_ymm and guest.mxcsr != MXCSR_INIT
            return None if in_use else Freedom.AVX_LEFT
        case _:
            return None


def _representable(x87):
    """FOP has 11 bits; bits 63 to 47 of an address are equal (SDM vol.1 §3.3.7.1)."""
    fop, *addresses = (int.from_bytes(x87[part], "little") for part in (_FOP, _FIP, _FDP))
    upper = (address >> 47 for address in addresses)
    return fop < 1 << 11 and all(bits in {0, (1 << 17) - 1} for bits in upper)
