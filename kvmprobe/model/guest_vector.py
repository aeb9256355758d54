"""SSE, AVX and AVX-512 registers in a guest (SDM vol.1 §10 to §15; vol.2 §2.6 to §2.8)."""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import TYPE_CHECKING

from kvmprobe.errors import NotModelled
from kvmprobe.model.control import Cr0, Cr4
from kvmprobe.model.guest import Vector, instruction_rule
from kvmprobe.xstate.features import AVX512, SSE_YMM, XFeature

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvmprobe.model.guest import Guest


class VectorFile(IntEnum):
    """A set of registers, by the bytes of one; K is the mask registers."""

    XMM = 16
    YMM = 32
    ZMM = 64
    K = 8

    @property
    def parts(self) -> tuple[tuple[XFeature, int, int], ...]:
        """Components it is made of, with the bytes of one register in each and their number."""
        return _PARTS[self]

    @property
    def size(self) -> int:
        """Bytes of all its registers."""
        return sum(width * count for _, width, count in self.parts)


_LOW = ((XFeature.SSE, 16, 16), (XFeature.YMM, 16, 16))
_PARTS = {
    VectorFile.XMM: _LOW[:1],
    VectorFile.YMM: _LOW,
    VectorFile.ZMM: (*_LOW, (XFeature.ZMM_HI256, 32, 16), (XFeature.HI16_ZMM, 64, 16)),
    VectorFile.K: ((XFeature.OPMASK, 8, 8),),
}


def joined(file: VectorFile, contents: Mapping[int, bytes]) -> bytes:
    """Return a file's registers, one after the other, from its components.

    :see: SDM vol.1 §13.5 "XSAVE-Managed State"
    """
    low = [part for part in file.parts if part[0] != XFeature.HI16_ZMM]
    count = low[0][2]
    registers = b"".join(
        contents[nr][register * width :][:width]
        for register in range(count)
        for nr, width, _ in low
    )
    return registers + (contents[XFeature.HI16_ZMM] if file is VectorFile.ZMM else b"")


def split(file: VectorFile, registers: bytes) -> dict[int, bytes]:
    """Return the components from a file's registers.

    :see: SDM vol.1 §13.5 "XSAVE-Managed State"
    """
    found: dict[int, bytes] = {}
    offset = 0
    for nr, width, count in file.parts:
        stride = width if nr == XFeature.HI16_ZMM else file.value
        start = count * file.value if nr == XFeature.HI16_ZMM else offset
        found[nr] = b"".join(registers[start + n * stride :][:width] for n in range(count))
        offset += width
    return found


LOAD = instruction_rule("a load into vector or mask registers sets them", "MOVUPS")


def load(guest: Guest, file: VectorFile, registers: bytes) -> Guest:
    """MOVUPS, VMOVUPS or KMOVQ into all registers of a file.

    An instruction with VEX or EVEX prefix clears the rest of its register; one without leaves it.

    :see: SDM vol.2 MOVUPS; vol.1 §14.1 "Intel AVX Overview"
    """
    _require(guest, file)
    changes = split(file, registers)
    if file is VectorFile.YMM:
        changes |= _above_ymm(guest)
    return guest.with_state(changes)


STORE = instruction_rule("a store of vector or mask registers returns them", "MOVUPS")


def store(guest: Guest, file: VectorFile) -> Guest:
    """MOVUPS, VMOVUPS or KMOVQ out of all registers of a file.

    :see: SDM vol.2 MOVUPS
    """
    _require(guest, file)
    contents = {int(nr): guest.content(nr) for nr, _, _ in file.parts}
    return guest._replace(memory=joined(file, contents))


VZEROALL = instruction_rule("VZEROALL clears registers 0 to 15", "VZEROALL")


def vzeroall(guest: Guest) -> Guest:
    """VZEROALL: registers 0 to 15, all of each.

    :see: SDM vol.2 VZEROALL
    """
    return vzeroupper(guest).with_state({XFeature.SSE: bytes(256)})


VZEROUPPER = instruction_rule("VZEROUPPER clears registers 0 to 15 above XMM", "VZEROUPPER")


def vzeroupper(guest: Guest) -> Guest:
    """VZEROUPPER: registers 0 to 15, but not XMM.

    :see: SDM vol.2 VZEROUPPER
    """
    _require(guest, VectorFile.YMM)
    return guest.with_state({int(XFeature.YMM): bytes(256)} | _above_ymm(guest))


LDMXCSR = instruction_rule("LDMXCSR sets MXCSR", "LDMXCSR")


def ldmxcsr(guest: Guest, value: int) -> Guest:
    """LDMXCSR.

    :see: SDM vol.2 LDMXCSR
    """
    _require(guest, VectorFile.XMM)
    guest.require((not value & ~guest.host.mxcsr_mask, Vector.GP))
    return guest._replace(mxcsr=value)


STMXCSR = instruction_rule("STMXCSR stores MXCSR", "STMXCSR")


def stmxcsr(guest: Guest) -> Guest:
    """STMXCSR.

    :see: SDM vol.2 STMXCSR
    """
    _require(guest, VectorFile.XMM)
    return guest._replace(memory=struct.pack("<I", guest.mxcsr))


def _above_ymm(guest: Guest) -> dict[int, bytes]:
    """Return what an instruction with a VEX prefix leaves of registers 0 to 15 above YMM.

    It clears up to MAXVL, which follows XCR0; the emulator clears all 512 bits without AVX-512 too.

    :raises NotModelled: XCR0 lacks AVX-512, and ZMM_HI256 is not INIT
    """
    if guest.vcpu.xcr0 & AVX512 == AVX512:
        return {int(XFeature.ZMM_HI256): bytes(512)}
    if any(guest.state.get(XFeature.ZMM_HI256, b"")):
        raise NotModelled(
            "an instruction with a VEX prefix while XCR0 lacks AVX-512 and ZMM_HI256 is in use: "
            "processors and emulators differ in what is left of it"
        )
    return {}


def _require(guest: Guest, file: VectorFile) -> None:
    if file is VectorFile.XMM:
        usable = not guest.vcpu.cr0 & Cr0.EM and guest.vcpu.cr4 & Cr4.OSFXSR.bit
    else:
        needed = SSE_YMM if file is VectorFile.YMM else SSE_YMM | AVX512
        usable = guest.cr4_osxsave and guest.vcpu.xcr0 & needed == needed
    guest.require((usable, Vector.UD), (guest.cr0_ts_clear, Vector.NM))
