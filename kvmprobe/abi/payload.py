"""The guest payload's memory, commands and blocks.  Layer: abi, pure.

``kvmprobe/native/guest_payload.S`` is the payload; its constants come from here.

A command is a header of COMMAND_SIZE bytes and data for the payload's data area.  A result is a
block of RESULT_SIZE bytes and the start of the data area.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import NamedTuple, Self

COMMAND_SIZE = 64
RESULT_SIZE = 128
DATA = 0x10000
DATA_SIZE = 0x4000
# Linear addresses from SHADOW on are shadow-stack pages of the same memory.  STACKS is memory for
# shadow stacks, a physical address.
SHADOW = 0x400000
STACKS = DATA + DATA_SIZE
STACKS_SIZE = 0x2000
# Of L1: SDM vol.3 §25.11.5 "VMXON Region", §25.2 "Format of the VMCS Region", §25.6.9 "MSR-Bitmap
# Address".
VMXON = 0x18000
VMCS = 0x19000
MSR_BITMAP = 0x1A000
NO_EXCEPTION = 0x100
NO_COMMAND = 0x101
# "Vectors" of a command that exited from L2 to L1, and of one at which VMX failed in L1; the error
# code has the exit reason, of an exception its vector in bits 23:16, or the VM-instruction error.
EXITED = 0x102
VMX_FAILED = 0x103
# "Vector" of a command that goes on until there is another command.
SPINNING = 0x104
# The payload exits to user space with an OUT to this port.  KVM completes that OUT before it exits,
# so that RIP points after it: arch/x86/kvm/x86.c: kvm_fast_pio_out, KVM_X86_QUIRK_OUT_7E_INC_RIP.
PORT = 0x7E

# Guest-physical addresses, sizes in bytes, and the memory slot (the next one has the reset vector;
# other memory of the catalogue has lower numbers).  COUNTER is a u64: the number of commands that
# were executed in this memory.  NO_COMMAND is the "vector" of an unknown opcode.
PLACES = {
    "MEMORY": 0x20000,
    "CODE": 0x8000,
    "COMMAND": 0xC000,
    "COMMAND_SIZE": COMMAND_SIZE,
    "RESULT": 0xC080,
    "RESULT_SIZE": RESULT_SIZE,
    "COUNTER": 0xC100,
    "DATA": DATA,
    "DATA_SIZE": DATA_SIZE,
    "SHADOW": SHADOW,
    "RESET_SIZE": 16,
    "SLOT": 0x10,
    "PORT": PORT,
    "NO_EXCEPTION": NO_EXCEPTION,
    "NO_COMMAND": NO_COMMAND,
    "EXITED": EXITED,
    "VMX_FAILED": VMX_FAILED,
    "SPINNING": SPINNING,
    "VMXON": VMXON,
    "VMCS": VMCS,
    "MSR_BITMAP": MSR_BITMAP,
}

INSTRUCTION_SIZE = 16
_COMMAND = struct.Struct(f"<II5Q{INSTRUCTION_SIZE}s")
_RESULT = struct.Struct("<12Q32x")


class PayloadOp(IntEnum):
    """Commands of the payload, most of them one instruction.

    Memory operands are in the data area.  RDX is the stride of TILELOADD and TILESTORED, EDX:EAX
    the RFBM of the XSAVE family, and the operand the TMM register of tile instructions.  SETSSBSY,
    CLRSSBSY, RSTORSSP, WRSS and SWITCH_STACKS first store RBX, a token of a shadow stack, at the
    physical address in RCX.  ENTER_L2 starts a nested guest, which executes the payload; RAX
    is the bitmap of the exceptions that exit to L1, and ECX IA32_VMX_BASIC.  GIVEN executes the
    bytes in the command.
    """

    NOP = 0
    UD2 = 1
    CPUID = 2
    RDMSR = 3
    WRMSR = 4
    READ_CR0 = 5
    WRITE_CR0 = 6
    READ_CR4 = 7
    WRITE_CR4 = 8
    CLTS = 9
    XGETBV = 10
    XSETBV = 11
    XSETBV_CPL3 = 12
    RDPKRU = 13
    WRPKRU = 14
    FNINIT = 15
    FLDCW = 16
    FNSTCW = 17
    FNSTSW = 18
    FNCLEX = 19
    FNOP = 20
    FWAIT = 21
    FLD1 = 22
    FLD = 23
    FSTP = 24
    FSQRT = 25
    LDMXCSR = 26
    STMXCSR = 27
    SQRTPS = 28
    LOAD_XMM = 29
    STORE_XMM = 30
    LOAD_YMM = 31
    STORE_YMM = 32
    LOAD_ZMM = 33
    STORE_ZMM = 34
    LOAD_K = 35
    STORE_K = 36
    VZEROALL = 37
    VZEROUPPER = 38
    FXSAVE64 = 39
    FXRSTOR64 = 40
    XSAVE64 = 41
    XSAVEC64 = 42
    XSAVES64 = 43
    XSAVEOPT64 = 44
    XRSTOR64 = 45
    XRSTORS64 = 46
    LDTILECFG = 47
    STTILECFG = 48
    TILELOADD = 49
    TILESTORED = 50
    TILEZERO = 51
    TILERELEASE = 52
    TDPBSSD = 53
    RDSSP = 54
    INCSSP = 55
    SETSSBSY = 56
    CLRSSBSY = 57
    RSTORSSP = 58
    WRSS = 59
    SWITCH_STACKS = 60
    CALL = 61
    RETURN_ELSEWHERE = 62
    JUMP_UNTRACKED = 63
    ENTER_L2 = 64
    VMCALL = 65
    SPIN = 66
    GIVEN = 67


class Registers(NamedTuple):
    """General-purpose registers at the start of a command."""

    rax: int = 0
    rbx: int = 0
    rcx: int = 0
    rdx: int = 0


_ZEROS = Registers()
_NOP = b"\x90"


def command(
    op: PayloadOp,
    registers: Registers = _ZEROS,
    *,
    operand: int = 0,
    offset: int = 0,
    instruction: bytes = b"",
    data: bytes = b"",
) -> bytes:
    """Encode a command.

    :param operand: number of a TMM register
    :param offset: of the memory operand from the start of the data area, bytes
    :param instruction: at most INSTRUCTION_SIZE bytes, for GIVEN
    :param data: content for the start of the data area; the rest is not changed
    """
    filled = instruction.ljust(INSTRUCTION_SIZE, _NOP) if instruction else b""
    return _COMMAND.pack(op, operand, *registers, offset & (1 << 64) - 1, filled) + data


class PayloadResult(NamedTuple):
    """The result block.

    :ivar sequence: number of commands executed since the memory was set up
    :ivar vector: exception vector, or NO_EXCEPTION; NO_COMMAND for an unknown command
    :ivar rip: of the exception, bytes from the first instruction of the command
    :ivar returned: 1 if there was no exception
    """

    sequence: int
    vector: int
    error_code: int
    rip: int
    rax: int
    rbx: int
    rcx: int
    rdx: int
    cr0: int
    cr2: int
    cr4: int
    returned: int

    @classmethod
    def parse(cls, output: bytes) -> Self:
        """Decode the start of a command's output."""
        return cls(*_RESULT.unpack_from(output))


RESULT = {name: 8 * position for position, name in enumerate(PayloadResult._fields)}
COMMAND = {"operand": 4, "rax": 8, "rbx": 16, "rcx": 24, "rdx": 32, "offset": 40, "instruction": 48}
