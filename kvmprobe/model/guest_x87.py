"""x87 instructions in a guest (SDM vol.1 §8 "Programming with the x87 FPU")."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from kvmprobe.errors import NotModelled
from kvmprobe.model.control import Cr0
from kvmprobe.model.guest import Vector, instruction_rule
from kvmprobe.model.x87 import unspecified
from kvmprobe.xstate.features import XFeature
from kvmprobe.xstate.image import FP_INIT

if TYPE_CHECKING:
    from kvmprobe.model.guest import Guest

_ENVIRONMENT = 24
_STACK = 8
_EXTENDED_REAL = 10
_ONE = struct.pack("<QH", 1 << 63, 0x3FFF)
# Not known which: FOP, FIP and FDP of the last instruction.
_POINTERS = b"\xff" * 18
_TAG_BYTE = 4
# SDM vol.1 §8.1.3 "x87 FPU Status Register": IE and SF, C1, TOP; §4.8.3.7 "QNaN Floating-Point
# Indefinite".
_STACK_FAULT, _OVERFLOWN, _TOP = 0x41, 0x200, 0x3800
# SDM vol.1 §8.1.3 "x87 FPU Status Register": ES; §8.1.5 "x87 FPU Control Word": exception masks.
_SUMMARY, _EXCEPTIONS, _INVALID = 0x80, 0x3F, 1
_INDEFINITE = struct.pack("<QH", 0xC000_0000_0000_0000, 0xFFFF)


FNINIT = instruction_rule("FNINIT resets the x87 environment", "FINIT/FNINIT")


def fninit(guest: Guest) -> Guest:
    """FNINIT: the environment becomes that of INIT, the registers stay.

    TOP becomes 0: from then on ST(i) is register i.

    :see: SDM vol.2 FINIT/FNINIT; vol.1 §8.1.2 "x87 FPU Data Registers"
    """
    x87 = _x87(guest)
    top, slots = _top(x87), _slots(x87)
    registers = slots[-top:] + slots[:-top]
    return _with_x87(guest, FP_INIT[:_ENVIRONMENT] + b"".join(registers))


FNOP = instruction_rule("FNOP changes only FOP and FIP", "FNOP")


def fnop(guest: Guest) -> Guest:
    """FNOP: an x87 instruction that changes nothing but FOP and FIP.

    :see: SDM vol.2 FNOP; vol.1 §8.1.8 "x87 FPU Instruction and Data (Operand) Pointers"
    """
    x87 = _waited(guest)
    return _with_x87(guest, x87[:6] + _POINTERS + x87[_ENVIRONMENT:])


FWAIT = instruction_rule("FWAIT is #NM with CR0.TS and CR0.MP", "WAIT/FWAIT")


def fwait(guest: Guest) -> Guest:
    """FWAIT: #NM for CR0.TS only with CR0.MP.

    :see: SDM vol.2 WAIT/FWAIT
    """
    faults = guest.vcpu.cr0 & Cr0.MP and not guest.cr0_ts_clear
    guest.require((not faults, Vector.NM))
    if not faults:
        _require_masked(guest.content(XFeature.FP))
    return guest


FNCLEX = instruction_rule("FNCLEX clears the x87 exception flags", "FCLEX/FNCLEX")


def fnclex(guest: Guest) -> Guest:
    """FNCLEX: exception flags, SF, ES and B of the status word become 0.

    :see: SDM vol.2 FCLEX/FNCLEX
    """
    x87 = _x87(guest)
    status = struct.unpack_from("<H", x87, 2)[0] & 0x7F00
    return _with_x87(guest, x87[:2] + struct.pack("<H", status) + x87[4:])


FLDCW = instruction_rule("FLDCW sets the x87 control word", "FLDCW")


def fldcw(guest: Guest, value: int) -> Guest:
    """FLDCW; bit 6 reads as 1.

    :see: SDM vol.2 FLDCW; vol.1 §8.1.5 "x87 FPU Control Word"
    """
    loaded = struct.pack("<H", value & 0x1F7F | 0x40) + _waited(guest)[2:]
    _require_masked(loaded)
    return _with_x87(guest, loaded)


FNSTCW = instruction_rule("FNSTCW stores the x87 control word", "FSTCW/FNSTCW")


def fnstcw(guest: Guest) -> Guest:
    """FNSTCW; a reserved bit that the host set may be kept or cleared.

    :see: SDM vol.2 FSTCW/FNSTCW
    """
    x87 = _x87(guest)
    reserved = tuple(
        place._replace(bits=place.bits[:2])
        for place in unspecified(guest.host, x87)
        if place.offset == 0
    )
    return guest._replace(memory=x87[:2], unspecified=reserved)


FNSTSW = instruction_rule("FNSTSW stores the x87 status word", "FSTSW/FNSTSW")


def fnstsw(guest: Guest) -> Guest:
    """FNSTSW.

    :see: SDM vol.2 FSTSW/FNSTSW
    """
    return guest._replace(memory=_x87(guest)[2:4])


FLD1 = instruction_rule("FLD1 pushes 1", "FLD1/FLDL2T/FLDL2E/FLDPI/FLDLG2/FLDLN2/FLDZ")


def fld1(guest: Guest) -> Guest:
    """FLD1.

    :see: SDM vol.2 FLD1/FLDL2T/...
    """
    return fld(guest, _ONE)


FLD = instruction_rule("FLD pushes its operand", "FLD")


def fld(guest: Guest, value: bytes) -> Guest:
    """FLD m80fp; onto a full stack the indefinite, the exception being masked.

    :see: SDM vol.2 FLD; vol.1 §8.1.2 "x87 FPU Data Registers"
    """
    x87 = _waited(guest)
    top, flags = (_top(x87) - 1) % _STACK, 0
    if x87[_TAG_BYTE] >> top & 1:
        value, flags = _indefinite(x87), _STACK_FAULT | _OVERFLOWN
    slots = [value.ljust(16, b"\0"), *_slots(x87)[:-1]]
    return _with_x87(guest, _stacked(x87, top, x87[_TAG_BYTE] | 1 << top, slots, flags))


FSTP = instruction_rule("FSTP stores and pops ST0", "FST/FSTP")


def fstp(guest: Guest) -> Guest:
    """FSTP m80fp; from an empty stack the indefinite, the exception being masked.

    :see: SDM vol.2 FST/FSTP
    """
    x87 = _waited(guest)
    top, slots, flags = _top(x87), _slots(x87), 0
    value = slots[0][:_EXTENDED_REAL]
    if not x87[_TAG_BYTE] >> top & 1:
        value, flags = _indefinite(x87), _STACK_FAULT
    tags = x87[_TAG_BYTE] & ~(1 << top)
    popped = _stacked(x87, (top + 1) % _STACK, tags, [*slots[1:], slots[0]], flags)
    return _with_x87(guest._replace(memory=value), popped)


def _x87(guest: Guest) -> bytes:
    guest.require((not guest.vcpu.cr0 & (Cr0.EM | Cr0.TS), Vector.NM))
    return guest.content(XFeature.FP)


def _waited(guest: Guest) -> bytes:
    """Return what an instruction finds that first waits for exceptions.

    :raises NotModelled: one is pending, or can be
    """
    x87 = _x87(guest)
    _require_masked(x87)
    return x87


def _require_masked(x87: bytes) -> None:
    control, status = struct.unpack_from("<HH", x87)
    if status & _SUMMARY or status & ~control & _EXCEPTIONS:
        raise NotModelled("an x87 instruction that waits, while an exception is pending")


def _indefinite(x87: bytes) -> bytes:
    """Return the value that comes of a stack fault.

    :raises NotModelled: the exception is not masked
    """
    if not x87[0] & _INVALID:
        raise NotModelled("an x87 stack fault that is not masked")
    return _INDEFINITE


def _with_x87(guest: Guest, content: bytes) -> Guest:
    return guest.with_state({XFeature.FP: content})


def _top(x87: bytes) -> int:
    return x87[3] >> 3 & 7


def _slots(x87: bytes) -> list[bytes]:
    return [x87[at : at + 16] for at in range(_ENVIRONMENT, _ENVIRONMENT + 16 * _STACK, 16)]


def _stacked(x87: bytes, top: int, tags: int, slots: list[bytes], flags: int) -> bytes:
    """Return the content after an instruction that moved the stack."""
    status = struct.unpack_from("<H", x87, 2)[0] & ~(_TOP | _OVERFLOWN) | top << 11 | flags
    head = x87[:2] + struct.pack("<HBB", status, tags, 0)
    return head + _POINTERS + b"".join(slots)
