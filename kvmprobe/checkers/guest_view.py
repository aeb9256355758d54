"""The guest reads the same register values as the host."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmprobe.abi.numbers import U32_MAX, Msr
from kvmprobe.abi.payload import EXITED, NO_EXCEPTION, RESULT_SIZE, PayloadOp, PayloadResult
from kvmprobe.checkers.checker import at
from kvmprobe.results.claim import Claim
from kvmprobe.scenarios.calls import RunGuest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmprobe.checkers.event import Event
    from kvmprobe.checkers.observed import ObservedState
    from kvmprobe.results.record import Finding

_COMMAND = struct.Struct("<II4Q")
_DEVICE_NOT_AVAILABLE = 7
# Of an error code of the payload; 0 is an exception.
_EXIT_REASON = 0xFFFF
# SDM vol.1 §13.5.9 "CET State"
_CET_IN_XSTATE = (Msr.IA32_U_CET, *range(Msr.IA32_PL0_SSP, Msr.IA32_PL3_SSP + 1))


@dataclass(frozen=True, slots=True)
class Instruction:
    """An instruction that the guest executed.

    :ivar index: ECX, which selects the register
    :ivar given: EDX:EAX before the instruction
    :ivar got: EDX:EAX after the instruction
    :ivar vector: of the exception that it raised, or NO_EXCEPTION
    :ivar exited_by: vector of the exception by which it left a nested guest; else -1
    """

    op: PayloadOp
    index: int
    given: int
    got: int
    vector: int
    exited_by: int

    @property
    def done(self) -> bool:
        """True if it raised no exception."""
        return self.vector == NO_EXCEPTION


def instruction(event: Event) -> Instruction | None:
    """Return the instruction that the guest executed; None if the guest did not reach it."""
    if not isinstance(event.call, RunGuest) or event.result != 0:
        return None
    if len(event.output) < RESULT_SIZE:
        return None
    op, _, rax, _, rcx, rdx = _COMMAND.unpack_from(event.call.command)
    result = PayloadResult.parse(event.output)
    given, got = _joined(rdx, rax), _joined(result.rdx, result.rax)
    exited = result.vector == EXITED and not result.error_code & _EXIT_REASON
    by = result.error_code >> 16 if exited else -1
    return Instruction(PayloadOp(op), rcx & U32_MAX, given, got, result.vector, by)


def _joined(high: int, low: int) -> int:
    return (high & U32_MAX) << 32 | low & U32_MAX


@at("RunGuest")
def guest_and_host(event: Event, state: ObservedState) -> Iterator[Finding]:
    """Check that XGETBV and RDMSR in the guest return what the host set or read (INV-40)."""
    vcpu, executed = state.vcpu(event), instruction(event)
    if vcpu is None or executed is None or not executed.done:
        return
    match executed.op:
        case PayloadOp.XGETBV if executed.index == 0:
            what, known = "XCR0", vcpu.xcr0
        case PayloadOp.RDMSR if executed.index in set(Msr):
            what, known = Msr(executed.index).name, vcpu.msrs.get(executed.index)
        case _:
            return
    if known is not None and known != executed.got:
        values: dict[str, int | str] = {"register": what, "guest": executed.got, "host": known}
        yield event.finding("guest-and-host", "INV-40", Claim.GUEST_READS_OTHER, values)


def writes(executed: Instruction) -> dict[int | None, int | None]:
    """Return the registers that an instruction wrote, with their values.

    The key is an MSR's index, or None for XCR0; the value is None if it is not known.  #NM in the
    guest may set IA32_XFD_ERR, also where it exits to L1, and XRSTORS may load the MSRs of CET.
    """
    if _DEVICE_NOT_AVAILABLE in {executed.vector, executed.exited_by}:
        return {Msr.IA32_XFD_ERR: None}
    if not executed.done:
        return {}
    match executed.op:
        case PayloadOp.XSETBV | PayloadOp.XSETBV_CPL3 if executed.index == 0:
            return {None: executed.given}
        case PayloadOp.WRMSR:
            return {executed.index: executed.given}
        case PayloadOp.XRSTORS64:
            return dict.fromkeys(_CET_IN_XSTATE)
        case _:
            return {}
