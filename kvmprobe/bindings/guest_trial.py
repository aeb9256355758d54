"""Does guest code run here?  Tried with two small guests, because capabilities do not tell."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from kvmprobe.abi.numbers import HLT, RESET_PAGE, RESET_VECTOR, KvmExit, exit_name
from kvmprobe.bindings._ffi import ffi, lib
from kvmprobe.bindings.vcpu import RunMode
from kvmprobe.errors import KernelCallError

if TYPE_CHECKING:
    from kvmprobe.bindings.kvm import Kvm
    from kvmprobe.bindings.vcpu import VcpuFd

RUNS = "runs"

_PML4, _PDPT, _PD, _CODE, _STACK = 0x1000, 0x2000, 0x3000, 0x4000, 0x5000
_PRESENT_WRITABLE, _LARGE = 0x3, 0x80
_CR0_PE_PG_NE_ET = 0x8000_0031
_CR4_PAE_OSFXSR = 0x220
_EFER_LME_LMA = 0x500
_SEGMENT = struct.Struct("=QIHBBBBBBBBBB")
_SEGMENTS = 6
_CR_OFFSET = 8 * 24 + 2 * 16
_EFER_OFFSET = _CR_OFFSET + 5 * 8


def real_mode(kvm: Kvm) -> str:
    """Run HLT at the reset vector; return ``runs``, or how it ended instead."""
    try:
        with kvm.create_vm() as vm:
            vm.map_memory(0, RESET_PAGE, bytes(RESET_VECTOR) + HLT)
            with vm.create_vcpu(0) as vcpu:
                reason = vcpu.run(RunMode.REAL)
                return RUNS if reason == KvmExit.HLT else _ended(vcpu, reason)
    except KernelCallError as error:
        return str(error)


def long_mode(kvm: Kvm) -> str:
    """Run 64-bit code that sets CR4.OSXSAVE, executes XGETBV and tells XCR0 through a port."""
    try:
        with kvm.create_vm() as vm:
            vm.map_memory(0, 0, _guest_memory())
            with vm.create_vcpu(0) as vcpu:
                vcpu.set_cpuid2(kvm.supported_cpuid())
                vcpu.set_sregs(_enter_long_mode(vcpu.get_sregs()))
                vcpu.set_regs(rip=_CODE, rsp=_STACK)
                reason = vcpu.run(RunMode.REAL)
                if reason != KvmExit.IO:
                    return _ended(vcpu, reason)
                value = vcpu.exit_details().io_byte
                return RUNS if value == vcpu.get_xcr0() & 0xFF else f"XGETBV gave {value:#x}"
    except KernelCallError as error:
        return str(error)


def _ended(vcpu: VcpuFd, reason: int) -> str:
    suberror = vcpu.exit_details().suberror
    what = f", suberror {suberror}" if reason == KvmExit.INTERNAL_ERROR else ""
    return f"{exit_name(reason)}{what}"


def _guest_memory() -> bytes:
    memory = bytearray(_STACK)
    struct.pack_into("=Q", memory, _PML4, _PDPT | _PRESENT_WRITABLE)
    struct.pack_into("=Q", memory, _PDPT, _PD | _PRESENT_WRITABLE)
    struct.pack_into("=Q", memory, _PD, _PRESENT_WRITABLE | _LARGE)
    code = bytes(ffi.buffer(lib.kvmprobe_long_mode_code, lib.kvmprobe_long_mode_code_size()))
    memory[_CODE : _CODE + len(code)] = code
    return bytes(memory)


def _enter_long_mode(sregs: bytearray) -> bytearray:
    code = _SEGMENT.pack(0, 0xFFFF_FFFF, 0x8, 11, 1, 0, 0, 1, 1, 1, 0, 0, 0)
    data = _SEGMENT.pack(0, 0xFFFF_FFFF, 0x10, 3, 1, 0, 1, 1, 0, 1, 0, 0, 0)
    sregs[: _SEGMENTS * _SEGMENT.size] = code + data * (_SEGMENTS - 1)
    control = struct.pack("=5Q", _CR0_PE_PG_NE_ET, 0, _PML4, _CR4_PAE_OSFXSR, 0)
    sregs[_CR_OFFSET : _CR_OFFSET + len(control)] = control
    struct.pack_into("=Q", sregs, _EFER_OFFSET, _EFER_LME_LMA)
    return sregs
