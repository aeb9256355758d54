"""KVM_RUN, and those instructions of the guest payload that have to do with the rules."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from kvmprobe.abi.payload import (
    COMMAND,
    COMMAND_SIZE,
    EXITED,
    NO_EXCEPTION,
    RESULT,
    RESULT_SIZE,
    PayloadOp,
)
from tests.opinion import sdm
from tests.opinion.answer import NONE, Opinion, Part, Topic, is_one_of, little
from tests.opinion.registers import XFD, XFD_ERR, xcr0_is_accepted

if TYPE_CHECKING:
    from kvmprobe.model.host import HostProfile
    from kvmprobe.results.trace import Reply
    from kvmprobe.scenarios.calls import RunGuest, RunVcpu
    from tests.opinion.state import Vcpu

_UD, _NM, _GP = 6, 7, 13
_HARMLESS = frozenset(
    {
        PayloadOp.NOP,
        PayloadOp.UD2,
        PayloadOp.CPUID,
        PayloadOp.RDMSR,
        PayloadOp.WRMSR,
        PayloadOp.READ_CR0,
        PayloadOp.READ_CR4,
        PayloadOp.XGETBV,
        PayloadOp.XSETBV,
        PayloadOp.XSETBV_CPL3,
        PayloadOp.RDPKRU,
        PayloadOp.WRPKRU,
        PayloadOp.LDMXCSR,
        PayloadOp.STMXCSR,
    }
)
_LOW = 0xFFFF_FFFF


def run_vcpu(vcpu: Vcpu, call: RunVcpu, reply: Reply) -> Opinion:
    """Load the guest's registers and save them; with ``immediate_exit``, EINTR (api.rst 5)."""
    vcpu.pass_through_registers()
    if call.immediate_exit and not call.patches:
        return is_one_of(Topic.XSTATE, -errno.EINTR)
    vcpu.has_run = vcpu.has_run or (not call.immediate_exit and reply.result >= 0)
    return NONE


class Command:
    """One command of the payload and what its reply shows of it."""

    def __init__(self, call: RunGuest, reply: Reply) -> None:
        self.op = int.from_bytes(call.command[:4], "little")
        registers = (COMMAND[name] for name in ("rax", "rcx", "rdx"))
        self.rax, self.rcx, self.rdx = (
            int.from_bytes(call.command[at : at + 8], "little") for at in registers
        )
        self.data = call.command[COMMAND_SIZE:]
        self.vector = self._result(reply, "vector")

    @staticmethod
    def _result(reply: Reply, name: str) -> int:
        at = RESULT[name]
        return int.from_bytes((reply.output or b"")[at : at + 8], "little")


def run_guest(vcpu: Vcpu, host: HostProfile, call: RunGuest, reply: Reply) -> Opinion:
    """Execute one command.

    #UD and #NM depend on CR0 and CR4, which this model does not have: the instruction did nothing.
    Nor did one that exited from a nested guest (SDM vol.3 26.1.1).
    """
    command = Command(call, reply)
    vcpu.has_run = True
    if command.vector in {_NM, EXITED} or command.op not in _HARMLESS:
        vcpu.xfd_err = None
    if reply.result or command.op not in _HARMLESS:
        vcpu.forget_registers()
        return NONE
    vcpu.pass_through_registers()
    handler = _HANDLERS.get(command.op)
    if handler is None or command.vector in {_UD, _NM, EXITED}:
        return NONE
    return handler(vcpu, host, command)


def _ends(topic: Topic, vector: int, *parts: Part) -> Opinion:
    return Opinion(topic, parts=(Part(topic, RESULT["vector"], little(vector, 8)), *parts))


def _xsetbv(vcpu: Vcpu, host: HostProfile, command: Command) -> Opinion:
    """#GP for another register than XCR0, a value that is not legal, CPL 3 (SDM vol.2 XSETBV)."""
    value = command.rdx << 32 & _LOW << 32 | command.rax & _LOW
    accepted = xcr0_is_accepted(vcpu, value)
    if command.rcx & _LOW or command.op == PayloadOp.XSETBV_CPL3 or accepted is False:
        return _ends(Topic.XCR0, _GP)
    if accepted is None:
        vcpu.xcr0 = None
        return NONE
    vcpu.xcr0 = value
    return _ends(Topic.XCR0, NO_EXCEPTION)


def _xgetbv(vcpu: Vcpu, host: HostProfile, command: Command) -> Opinion:
    """Return XCR0 in EDX:EAX; ECX=1 may exist, others are #GP (SDM vol.2 XGETBV)."""
    if command.rcx & _LOW == 1:
        return NONE
    if command.rcx & _LOW:
        return _ends(Topic.XCR0, _GP)
    if vcpu.xcr0 is None:
        return _ends(Topic.XCR0, NO_EXCEPTION)
    return _ends(
        Topic.XCR0,
        NO_EXCEPTION,
        Part(Topic.XCR0, RESULT["rax"], little(vcpu.xcr0 & _LOW, 8)),
        Part(Topic.XCR0, RESULT["rdx"], little(vcpu.xcr0 >> 32, 8)),
    )


def _rdpkru(vcpu: Vcpu, host: HostProfile, command: Command) -> Opinion:
    """#GP unless ECX is 0 (SDM vol.2 RDPKRU)."""
    if command.rcx & _LOW:
        return _ends(Topic.PKRU, _GP)
    if vcpu.pkru is None:
        return _ends(Topic.PKRU, NO_EXCEPTION)
    read = Part(Topic.PKRU, RESULT["rax"], little(vcpu.pkru, 8))
    return _ends(Topic.PKRU, NO_EXCEPTION, read)


def _wrpkru(vcpu: Vcpu, host: HostProfile, command: Command) -> Opinion:
    """#GP unless ECX and EDX are 0 (SDM vol.2 WRPKRU)."""
    if command.rcx & _LOW or command.rdx & _LOW:
        return _ends(Topic.PKRU, _GP)
    vcpu.pkru = command.rax & _LOW
    return _ends(Topic.PKRU, NO_EXCEPTION)


def _ldmxcsr(vcpu: Vcpu, host: HostProfile, command: Command) -> Opinion:
    """#GP for a reserved bit (SDM vol.2 LDMXCSR; vol.1 11.6.6: MXCSR_MASK)."""
    value = int.from_bytes(command.data[:4], "little")
    if value & ~host.mxcsr_mask:
        return _ends(Topic.MXCSR, _GP)
    vcpu.mxcsr = value
    if vcpu.compacted and value != sdm.MXCSR_INIT:
        vcpu.present |= 1 << sdm.SSE
    return _ends(Topic.MXCSR, NO_EXCEPTION)


def _stmxcsr(vcpu: Vcpu, host: HostProfile, command: Command) -> Opinion:
    """Store MXCSR (SDM vol.2 STMXCSR)."""
    if vcpu.mxcsr is None:
        return _ends(Topic.MXCSR, NO_EXCEPTION)
    stored = Part(Topic.MXCSR, RESULT_SIZE, little(vcpu.mxcsr, 4))
    return _ends(Topic.MXCSR, NO_EXCEPTION, stored)


def _wrmsr(vcpu: Vcpu, host: HostProfile, command: Command) -> Opinion:
    """What a guest's own write does to XFD is not known here."""
    if command.rcx & _LOW == XFD:
        vcpu.xfd = None
        vcpu.forget_tile_data()
    if command.rcx & _LOW == XFD_ERR:
        vcpu.xfd_err = None
    return NONE


_HANDLERS = {
    PayloadOp.XSETBV: _xsetbv,
    PayloadOp.XSETBV_CPL3: _xsetbv,
    PayloadOp.XGETBV: _xgetbv,
    PayloadOp.RDPKRU: _rdpkru,
    PayloadOp.WRPKRU: _wrpkru,
    PayloadOp.LDMXCSR: _ldmxcsr,
    PayloadOp.STMXCSR: _stmxcsr,
    PayloadOp.WRMSR: _wrmsr,
}
