"""Shadow stacks and indirect branch tracking in a guest at CPL 0 (SDM vol.1 ch.17).

The model does not know what a shadow stack contains.  So an instruction on a token comes with the
token, which the payload stores first, and an instruction or exception that pushes needs an SSP with
room under it: where a push faults, the guest shuts down, and the model refuses that.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

from kvmprobe.abi.numbers import Msr
from kvmprobe.abi.payload import DATA, DATA_SIZE, SHADOW, STACKS, STACKS_SIZE
from kvmprobe.errors import NotModelled
from kvmprobe.model.control import Cr4
from kvmprobe.model.guest import Fault, Vector
from kvmprobe.model.rule import KernelFile, KernelSource, ManualSource, Rule
from kvmprobe.model.shadow_stack import (
    ENDBR_EN,
    LEG_IW_EN,
    WR_SHSTK_EN,
    on_stacks,
    require_room,
    s_cet,
    shadow_stack_enabled,
)

if TYPE_CHECKING:
    from kvmprobe.model.guest import Guest

_IN_64_BIT_MODE, _PREVIOUS, _BUSY = 1, 2, 1
# SDM vol.3 §4.7 "Page-Fault Exceptions": P, W/R, SS.
_NOT_A_SHADOW_STACK = 1 | 1 << 1 | 1 << 6
_SLOT = 8


class ControlProtection(IntEnum):
    """Error codes of #CP (SDM vol.3 §6.15 "Interrupt 21—Control Protection Exception")."""

    NEAR_RET = 1
    ENDBRANCH = 3
    RSTORSSP = 4
    SETSSBSY = 5


@dataclass(frozen=True, slots=True)
class Token:
    """A token that the payload stores before the instruction.

    :ivar place: its physical address
    """

    value: int
    place: int

    @property
    def address(self) -> int:
        """Its linear address among the shadow-stack pages."""
        return SHADOW + self.place


def instruction_rule(statement: str, mnemonic: str) -> Rule:
    """Return the rule of an instruction that uses the guest's SSP, which KVM keeps in the VMCS.

    :param mnemonic: the section of the SDM's volume 2
    :see: arch/x86/kvm/vmx/vmx.c: vmx_set_msr
    """
    sources = (ManualSource(2, mnemonic), KernelSource(KernelFile.KVM_VMX, "vmx_set_msr"))
    return Rule(statement, (), sources)


RDSSP = instruction_rule("RDSSP returns SSP, and is a NOP without a shadow stack", "RDSSP")


def rdssp(guest: Guest) -> Guest:
    """RDSSPQ RAX.

    :see: SDM vol.2 RDSSPD/RDSSPQ
    """
    if not shadow_stack_enabled(guest.vcpu):
        return guest
    return guest._replace(registers=guest.registers._replace(rax=guest.vcpu.ssp))


INCSSP = instruction_rule("INCSSP pops entries of the shadow stack", "INCSSP")


def incssp(guest: Guest) -> Guest:
    """INCSSPQ RAX: pops as many entries of 8 bytes as AL says.

    :see: SDM vol.2 INCSSPD/INCSSPQ
    """
    _require_shadow_stack(guest)
    ssp, count = guest.vcpu.ssp, guest.registers.rax & 0xFF
    if not on_stacks(ssp) or not on_stacks(ssp + _SLOT * max(count - 1, 0)):
        raise NotModelled("INCSSP outside the payload's shadow stacks")
    return _with_ssp(guest, ssp + _SLOT * count)


SETSSBSY = instruction_rule("SETSSBSY makes IA32_PL0_SSP the SSP if its token is free", "SETSSBSY")


def setssbsy(guest: Guest, token: Token) -> Guest:
    """SETSSBSY with a token at IA32_PL0_SSP.

    :see: SDM vol.2 SETSSBSY
    """
    _require_shadow_stack(guest)
    address = guest.vcpu.msrs.get(Msr.IA32_PL0_SSP, 0)
    guest.require((address % _SLOT == 0, Vector.GP))
    _require_here(address, token)
    if token.value != address:
        raise _control_protection(ControlProtection.SETSSBSY)
    return _with_ssp(_with_memory(guest, address | _BUSY), address)


CLRSSBSY = instruction_rule("CLRSSBSY frees a token and clears SSP", "CLRSSBSY")


def clrssbsy(guest: Guest, token: Token, address: int) -> Guest:
    """CLRSSBSY m64; a token that is not busy stays as it is.

    :see: SDM vol.2 CLRSSBSY
    """
    _require_shadow_stack(guest)
    guest.require((address % _SLOT == 0, Vector.GP))
    _require_here(address, token)
    freed = address if token.value == address | _BUSY else token.value
    return _with_ssp(_with_memory(guest, freed), 0)


RSTORSSP = instruction_rule(
    "RSTORSSP turns to another shadow stack if its token is right", "RSTORSSP"
)


def rstorssp(guest: Guest, token: Token, address: int) -> Guest:
    """RSTORSSP m64 in 64-bit mode: the token is its own end, with bit 0 set and bit 1 clear.

    It becomes a previous-SSP token.

    :see: SDM vol.2 RSTORSSP
    """
    _require_shadow_stack(guest)
    guest.require((address % _SLOT == 0, Vector.GP))
    _require_here(address, token)
    wrong_mode = token.value & (_IN_64_BIT_MODE | _PREVIOUS) != _IN_64_BIT_MODE
    if wrong_mode or token.value - _SLOT & -_SLOT != address:
        raise _control_protection(ControlProtection.RSTORSSP)
    previous = guest.vcpu.ssp | _IN_64_BIT_MODE | _PREVIOUS
    return _with_ssp(_with_memory(guest, previous), address)


SWITCH_STACKS = instruction_rule(
    "SAVEPREVSSP leaves a token on the shadow stack that RSTORSSP came from", "SAVEPREVSSP"
)


def switch_stacks(guest: Guest, token: Token, address: int) -> Guest:
    """RDSSPQ RDX; RSTORSSP m64; SAVEPREVSSP; then RBX is the token on the stack before.

    :see: SDM vol.2 SAVEPREVSSP
    """
    _require_shadow_stack(guest)
    before = guest.vcpu.ssp
    guest = guest._replace(registers=guest.registers._replace(rdx=before))
    try:
        guest = rstorssp(guest, token, address)
    except Fault as fault:
        raise fault.after(guest) from None
    if before % _SLOT or token.value % _SLOT != _IN_64_BIT_MODE:
        raise NotModelled("SAVEPREVSSP with a hole of 4 bytes in a shadow stack")
    require_room(before)
    saved = _with_memory(guest, before | _IN_64_BIT_MODE)
    return _with_ssp(saved, address + _SLOT)


WRSS = instruction_rule(
    "WRSS writes to shadow-stack pages only", "WRSSD/WRSSQ—Write to Shadow Stack"
)


def wrss(guest: Guest, token: Token, address: int) -> Guest:
    """WRSSQ m64, RAX over a token; other memory is #PF.

    :see: SDM vol.2 WRSSD/WRSSQ; vol.3 §4.6 "Access Rights"
    """
    _require_shadow_stack(guest)
    guest.require((s_cet(guest.vcpu) & WR_SHSTK_EN, Vector.UD), (address % _SLOT == 0, Vector.GP))
    if DATA <= address < DATA + DATA_SIZE:
        raise Fault(Vector.PF, error_code=_NOT_A_SHADOW_STACK)
    _require_here(address, token)
    return _with_memory(guest, guest.registers.rax)


CALL = instruction_rule("CALL pushes to the shadow stack what RET pops", "CALL—Call Procedure")


def call(guest: Guest) -> Guest:
    """CALL, and RET to where it came from.

    :see: SDM vol.2 CALL; vol.1 §17.2 "Shadow Stacks"
    """
    if shadow_stack_enabled(guest.vcpu):
        require_room(guest.vcpu.ssp)
    return guest


RETURN_ELSEWHERE = instruction_rule(
    "RET to another address than on the shadow stack is #CP", "RET—Return From Procedure"
)


def return_elsewhere(guest: Guest) -> Guest:
    """CALL, another return address on the stack, RET.

    :see: SDM vol.2 RET; vol.1 §17.2 "Shadow Stacks"
    """
    if not shadow_stack_enabled(guest.vcpu):
        return guest
    require_room(guest.vcpu.ssp)
    called = _with_ssp(guest, guest.vcpu.ssp - _SLOT)
    raise _control_protection(ControlProtection.NEAR_RET).after(called)


JUMP_UNTRACKED = instruction_rule(
    "with indirect branch tracking a jump to what is not ENDBR64 is #CP", "JMP—Jump"
)


def jump_untracked(guest: Guest) -> Guest:
    """JMP R15 to a NOP.

    :see: SDM vol.1 §17.3 "Indirect Branch Tracking"
    """
    vcpu = guest.vcpu
    if not vcpu.cr4 & Cr4.CET.bit or not s_cet(vcpu) & ENDBR_EN:
        return guest
    if s_cet(vcpu) & LEG_IW_EN:
        raise NotModelled("the legacy code page bitmap of indirect branch tracking")
    raise _control_protection(ControlProtection.ENDBRANCH)


def _control_protection(cause: ControlProtection) -> Fault:
    return Fault(Vector.CP, error_code=cause)


def _require_shadow_stack(guest: Guest) -> None:
    guest.require((shadow_stack_enabled(guest.vcpu), Vector.UD))


def _require_here(address: int, token: Token) -> None:
    if address != token.address or not STACKS <= token.place <= STACKS + STACKS_SIZE - _SLOT:
        raise NotModelled(f"a shadow stack's content at {address:#x}, where no token was stored")


def _with_ssp(guest: Guest, ssp: int) -> Guest:
    return guest.with_vcpu(guest.vcpu._replace(ssp=ssp))


def _with_memory(guest: Guest, token: int) -> Guest:
    return guest._replace(registers=guest.registers._replace(rbx=token))
