"""Finds out by two trial guests whether KVM runs guest code here; no capability reports it."""

from __future__ import annotations

import mmap
from typing import TYPE_CHECKING

from kvmprobe.abi.numbers import HALT, RESET_PAGE, RESET_VECTOR, exit_name
from kvmprobe.abi.payload import (
    COMMAND_SIZE,
    NO_EXCEPTION,
    PLACES,
    PORT,
    RESULT_SIZE,
    PayloadOp,
    PayloadResult,
    Registers,
    command,
)
from kvmprobe.bindings.exits import HltExit, InternalErrorExit, IoExit
from kvmprobe.errors import KernelCallError
from kvmprobe.native.payload_image import payload_memory

if TYPE_CHECKING:
    from kvmprobe.bindings.exits import Exit
    from kvmprobe.bindings.kvm import Kvm
    from kvmprobe.bindings.vcpu import VcpuFd

RUNS = "runs"

_CR4_OSXSAVE = 1 << 18
_COMMAND = slice(PLACES["COMMAND"], PLACES["COMMAND"] + COMMAND_SIZE)
_RESULT = slice(PLACES["RESULT"], PLACES["RESULT"] + RESULT_SIZE)


def real_mode(kvm: Kvm) -> str:
    """Run HLT at the reset vector; return ``runs``, or how the guest ended instead."""
    try:
        with kvm.create_vm() as vm:
            vm.map_memory(0, RESET_PAGE, bytes(RESET_VECTOR) + HALT)
            with vm.create_vcpu(0) as vcpu:
                ended = vcpu.run()
                return RUNS if isinstance(ended, HltExit) else _described(ended)
    except KernelCallError as error:
        return str(error)


def long_mode(kvm: Kvm) -> str:
    """Run a guest that sets CR4.OSXSAVE and executes XGETBV; return ``runs``, or how it failed."""
    image = payload_memory()
    try:
        with kvm.create_vm() as vm:
            memory = vm.map_memory(0, 0, image[: -mmap.PAGESIZE])
            vm.map_memory(1, RESET_PAGE, image[-mmap.PAGESIZE :])
            with vm.create_vcpu(0) as vcpu:
                vcpu.set_cpuid2(kvm.supported_cpuid())
                return _read_xcr0(vcpu, memory)
    except KernelCallError as error:
        return str(error)


def _read_xcr0(vcpu: VcpuFd, memory: mmap.mmap) -> str:
    registers, xcr0 = Registers(), 0
    for op in (PayloadOp.READ_CR4, PayloadOp.WRITE_CR4, PayloadOp.XGETBV):
        memory[_COMMAND] = command(op, registers)
        ended = vcpu.run()
        if not isinstance(ended, IoExit) or ended.port != PORT:
            return _described(ended)
        result = PayloadResult.parse(memory[_RESULT])
        if result.vector != NO_EXCEPTION:
            return f"{op.name} raised exception {result.vector}"
        registers = Registers(rax=result.cr4 | _CR4_OSXSAVE)
        xcr0 = result.rdx << 32 | result.rax
    return RUNS if xcr0 == vcpu.get_xcr0() else f"XGETBV returned {xcr0:#x}"


def _described(ended: Exit) -> str:
    what = f", suberror {ended.suberror}" if isinstance(ended, InternalErrorExit) else ""
    return f"{exit_name(ended.reason)}{what}"
