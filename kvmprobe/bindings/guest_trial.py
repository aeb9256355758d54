"""Does guest code run here?  Tried with two guests, because capabilities do not tell."""

from __future__ import annotations

import mmap
from typing import TYPE_CHECKING

from kvmprobe.abi.numbers import HALT, RESET_PAGE, RESET_VECTOR, exit_name
from kvmprobe.abi.payload import (
    COMMAND_SIZE,
    NO_EXCEPTION,
    RESULT_SIZE,
    PayloadOp,
    PayloadResult,
    Registers,
    command,
)
from kvmprobe.bindings._ffi import ffi, lib
from kvmprobe.bindings.exits import HltExit, InternalErrorExit, IoExit
from kvmprobe.errors import KernelCallError

if TYPE_CHECKING:
    from kvmprobe.bindings.exits import Exit
    from kvmprobe.bindings.kvm import Kvm
    from kvmprobe.bindings.vcpu import VcpuFd

RUNS = "runs"

_CR4_OSXSAVE = 1 << 18
_COMMAND = slice(lib.KVMPROBE_PAYLOAD_COMMAND, lib.KVMPROBE_PAYLOAD_COMMAND + COMMAND_SIZE)
_RESULT = slice(lib.KVMPROBE_PAYLOAD_RESULT, lib.KVMPROBE_PAYLOAD_RESULT + RESULT_SIZE)


def real_mode(kvm: Kvm) -> str:
    """Run HLT at the reset vector; return ``runs``, or how it ended instead."""
    try:
        with kvm.create_vm() as vm:
            vm.map_memory(0, RESET_PAGE, bytes(RESET_VECTOR) + HALT)
            with vm.create_vcpu(0) as vcpu:
                ended = vcpu.run()
                return RUNS if isinstance(ended, HltExit) else _told(ended)
    except KernelCallError as error:
        return str(error)


def long_mode(kvm: Kvm) -> str:
    """Set CR4.OSXSAVE and execute XGETBV in a guest; return ``runs``, or what it did."""
    image = bytearray(lib.KVMPROBE_PAYLOAD_MEMORY_SIZE + mmap.PAGESIZE)
    lib.kvmprobe_payload_fill(ffi.from_buffer("uint8_t[]", image))
    try:
        with kvm.create_vm() as vm:
            memory = vm.map_memory(0, 0, bytes(image[: -mmap.PAGESIZE]))
            vm.map_memory(1, RESET_PAGE, bytes(image[-mmap.PAGESIZE :]))
            with vm.create_vcpu(0) as vcpu:
                vcpu.set_cpuid2(kvm.supported_cpuid())
                return _read_xcr0(vcpu, memory)
    except KernelCallError as error:
        return str(error)


def _read_xcr0(vcpu: VcpuFd, memory: mmap.mmap) -> str:
    registers, told = Registers(), 0
    for op in (PayloadOp.READ_CR4, PayloadOp.WRITE_CR4, PayloadOp.XGETBV):
        memory[_COMMAND] = command(op, registers)
        ended = vcpu.run()
        if not isinstance(ended, IoExit) or ended.port != lib.KVMPROBE_PAYLOAD_PORT:
            return _told(ended)
        result = PayloadResult.parse(memory[_RESULT])
        if result.vector != NO_EXCEPTION:
            return f"{op.name} gave exception {result.vector}"
        registers = Registers(rax=result.cr4 | _CR4_OSXSAVE)
        told = result.rdx << 32 | result.rax
    return RUNS if told == vcpu.get_xcr0() else f"XGETBV gave {told:#x}"


def _told(ended: Exit) -> str:
    what = f", suberror {ended.suberror}" if isinstance(ended, InternalErrorExit) else ""
    return f"{exit_name(ended.reason)}{what}"
