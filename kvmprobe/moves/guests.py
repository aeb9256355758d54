"""Guests that have all the state that a host can give them, and what such state is."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from kvmprobe.abi.numbers import Msr
from kvmprobe.model import cet, lifecycle, msr, one_reg, permission, sregs, uabi, xcr
from kvmprobe.model.control import Cr4
from kvmprobe.model.feature import IBT, SHSTK, has_feature
from kvmprobe.model.fpstate import content, guest_mxcsr
from kvmprobe.model.guest_cpuid import set_cpuid2
from kvmprobe.model.machine import GuestCpuid, Machine
from kvmprobe.model.run import run_immediate_exit
from kvmprobe.scenarios.calls import VCPU
from kvmprobe.vmm.findings import Piece, PieceKind
from kvmprobe.vmm.pieces import SSP, XCR0
from kvmprobe.xstate import patterns
from kvmprobe.xstate.cpuid import (
    LEAF_EXTENDED_FEATURES,
    LEAF_FEATURES,
    PKU_BIT,
    XSAVE_BIT,
    Register,
)
from kvmprobe.xstate.features import CET, DYNAMIC, XTILE, XFeature, numbers
from kvmprobe.xstate.image import MXCSR_INIT, is_init

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from kvmprobe.model.host import HostProfile
    from kvmprobe.model.machine import Vcpu
    from kvmprobe.vmm.pieces import Value
    from kvmprobe.xstate.cpuid import CpuidTable

CR4, MXCSR = Piece(PieceKind.CR, 4), Piece(PieceKind.MXCSR, 0)
_XFD, _XFD_ERR, _XSS = (
    Piece(PieceKind.MSR, index) for index in (Msr.IA32_XFD, Msr.IA32_XFD_ERR, Msr.IA32_XSS)
)
# What the guest sets in CR4, if its CPUID has one of these features; CET's only when it uses CET.
_ENABLES = {
    Cr4.OSXSAVE: ((LEAF_FEATURES, 0, Register.ECX, XSAVE_BIT),),
    Cr4.PKE: ((LEAF_EXTENDED_FEATURES, 0, Register.ECX, PKU_BIT),),
    Cr4.CET: (SHSTK, IBT),
}
_ALWAYS = Cr4.OSFXSR.bit | Cr4.OSXMMEXCPT.bit
_SSP = 0x9000


class Use(StrEnum):
    """What of its state a guest uses, beside AVX, AVX-512 and PKRU, when it is saved."""

    NO_TILES = "no-tiles"
    TILES = "tiles"
    """XFD is 0."""
    ARMED = "xfd-armed"
    """Tile data are in INIT state."""
    IN_NM = "in-nm"
    """The same, in its handler of #NM: IA32_XFD_ERR is not 0."""
    CET = "cet"
    """Shadow stacks or IBT, and tiles where there are any."""


def uses(table: CpuidTable, states: Collection[str]) -> tuple[Use, ...]:
    """Return the uses that a CPUID table offers and that an order says it restores.

    :param states: of the order (:data:`scenarios.presets.STATES`)
    """
    amx, has_cet = table.xcr0 & DYNAMIC, table.xss & CET
    most = Use.TILES if amx else Use.NO_TILES
    by_state = {
        "no-tiles": (Use.NO_TILES,),
        "tiles": (most,),
        "xfd-armed": (Use.ARMED, Use.IN_NM) if amx else (most,),
        "cet": (Use.CET if has_cet else most,),
    }
    found = {use for state in states for use in by_state[state]}
    if Use.TILES in found:
        found.discard(Use.NO_TILES)
    return tuple(use for use in Use if use in found)


def other_use(amx: int, armed: int) -> Use:
    """Return a use of the same CPUID that leaves XFD otherwise.

    :param amx: not 0 if the CPUID has XTILE_DATA
    :param armed: not 0 if XFD is armed
    """
    if not amx:
        return Use.NO_TILES
    return Use.TILES if armed else Use.ARMED


def new_vcpu(host: HostProfile) -> Machine:
    """Return a process with permission for all that the host has, and a new vCPU."""
    machine = permission.request_guest_permission(Machine.fresh(host), XFeature.XTILE_DATA).machine
    return lifecycle.create_vcpu(lifecycle.create_vm(machine).machine, VCPU).machine


def guest(host: HostProfile, table: CpuidTable, use: Use) -> Vcpu:
    """Return a vCPU after its guest has put a value in every piece of state that it can have.

    A correct kernel had it so far: what the host's own defects do is left to the calls that
    save it.
    """
    correct = host.without_defects
    machine = set_cpuid2(new_vcpu(correct), VCPU, GuestCpuid.of(table)).machine
    vcpu = machine.vcpu(VCPU)
    machine = sregs.set_cr4(machine, VCPU, _ALWAYS | _enabled(table, use)).machine
    machine = xcr.set_xcr0(machine, VCPU, vcpu.guest_xcr0).machine
    filled = vcpu.guest_xcr0 & patterns.patterned(host.layout)
    if use is Use.NO_TILES:
        filled &= ~XTILE
    image = patterns.image(filled, host.layout, vcpu.fpstate.uabi_size, host.mxcsr_mask)
    machine = uabi.set_xsave(machine, VCPU, image).machine
    machine = msr.set_msrs(machine, VCPU, list(_msrs(correct, vcpu, use).items())).machine
    if use is Use.CET:
        machine = one_reg.set_one_reg(machine, VCPU, one_reg.GUEST_SSP, _SSP).machine
    return run_immediate_exit(machine, VCPU).machine.vcpu(VCPU)


def _enabled(table: CpuidTable, use: Use) -> int:
    return sum(
        bit.bit
        for bit, features in _ENABLES.items()
        if any(table.has(*feature) for feature in features)
        and (bit is not Cr4.CET or use is Use.CET)
    )


def _msrs(host: HostProfile, vcpu: Vcpu, use: Use) -> Mapping[int, int]:
    armed, pending = use in {Use.ARMED, Use.IN_NM}, use is Use.IN_NM
    found = {
        int(Msr.IA32_XFD): DYNAMIC if armed else 0,
        int(Msr.IA32_XFD_ERR): DYNAMIC if pending else 0,
    }
    if use is not Use.CET:
        return found
    found[Msr.IA32_XSS] = vcpu.guest_xss
    # SDM vol.4 table 2-2, IA32_U_CET: SH_STK_EN, ENDBR_EN.
    control = 1 if has_feature(host, vcpu, SHSTK) else 1 << 2
    for place, index in enumerate(sorted(cet.MSRS), 1):
        if cet.exists(host, vcpu, index):
            found[index] = control if index in cet.CONTROLS else 0x1000 * place
    return found


def pieces(host: HostProfile, vcpu: Vcpu) -> Mapping[Piece, Value]:
    """Return a guest's state, piece by piece; components in INIT state are left out."""
    fpstate = vcpu.fpstate
    found: dict[Piece, Value] = {CR4: vcpu.cr4, XCR0: vcpu.xcr0}
    for nr in numbers(fpstate.xstate_bv & ~XFeature.PKRU.bit):
        held = content(host, fpstate, nr)
        if not is_init(nr, held, host.layout):
            found[Piece(PieceKind.COMPONENT, nr)] = held
    if vcpu.guest_xcr0 & XFeature.PKRU.bit and vcpu.pkru:
        found[Piece(PieceKind.COMPONENT, XFeature.PKRU)] = vcpu.pkru
    if (mxcsr := guest_mxcsr(host, fpstate)) != MXCSR_INIT:
        found[MXCSR] = mxcsr
    if vcpu.guest_xcr0 & DYNAMIC:
        found |= {_XFD: vcpu.xfd, _XFD_ERR: vcpu.xfd_err}
    if vcpu.xss:
        found[_XSS] = vcpu.xss
    if vcpu.ssp:
        found[SSP] = vcpu.ssp
    return found | {Piece(PieceKind.MSR, i): value for i, value in vcpu.msrs.items() if value}
