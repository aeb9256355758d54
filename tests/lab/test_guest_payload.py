"""The guest payload on the emulated host: every command, and what the executor does around it."""

from __future__ import annotations

import struct
from typing import NamedTuple

import pytest

from kvmprobe.abi import ioctls
from kvmprobe.abi.executor import RunFault
from kvmprobe.abi.numbers import ArchPrctlCode
from kvmprobe.abi.payload import (
    EXITED,
    NO_COMMAND,
    NO_EXCEPTION,
    RESULT_SIZE,
    STACKS,
    PayloadOp,
    PayloadResult,
    Registers,
    command,
)
from kvmprobe.execution.driver import Driver, Request
from kvmprobe.lab.archive import Archives
from kvmprobe.lab.cache import Cache
from kvmprobe.lab.place import EmulatedHost
from kvmprobe.progress import Silent
from kvmprobe.results.trace import End
from kvmprobe.scenarios.calls import (
    ArchPrctl,
    Captured,
    DuringRun,
    Immediate,
    Ioctl,
    Kick,
    Literal,
    MapPayload,
    OpenKvm,
    Output,
    OutputBehind,
    Relation,
    RunGuest,
    RunVcpu,
    SharePayload,
    SleepingLiteral,
    Spawn,
)
from tests.support.hosts import AMX_HOST
from tests.support.places import RawCall, sequence

pytestmark = pytest.mark.lab
KERNEL = "7.3.4"

# SDM vol.1 13.1: x87, SSE, AVX, AVX-512 (three), PKRU, XTILECFG, XTILEDATA
XCR0 = 0x602E7
XTILE_DATA_NR, XTILE_DATA = 18, 1 << 18
UD, NM, GP, PF, MF, XM = 6, 7, 13, 14, 16, 19
# SDM vol.3 2.5: TS; OSFXSR, OSXMMEXCPT, PAE, OSXSAVE, PKE
CR0, CR0_TS = 0x80010033, 1 << 3
CR4, CR4_VMXE, CR4_OSXSAVE, CR4_PKE = 0x620, 1 << 13, 1 << 18, 1 << 22
# include/uapi/linux/kvm_para.h: -KVM_ENOSYS
NO_HYPERCALL, IA32_VMX_BASIC = (1 << 64) - 1000, 0x480
IA32_XFD, IA32_XFD_ERR, IA32_U_CET, IA32_XSS = 0x1C4, 0x1C5, 0x6A0, 0xDA0
ONE, MINUS_ONE_M80 = bytes(7) + b"\x80\xff\x3f", bytes(7) + b"\x80\xff\xbf"
MINUS_ONES = struct.pack("<f", -1.0) * 4
PATTERN = bytes(range(256)) * 8
# Eight tiles of 16 rows of 64 bytes: palette 1 (SDM vol.1 18.2)
TILECFG = (
    bytes([1]) + bytes(15) + struct.pack("<8H", *[64] * 8) + bytes(16) + bytes([16] * 8 + [0] * 8)
)
# SDM vol.1 table 10-2: XMM0; the size with all of XCR0.
XMM, XSAVE_SIZE = 160, 11008
NONE, ROWS = Registers(), Registers(rdx=64)
LEGACY, COMPACTED_SSE = b"\1" * 512, struct.pack("<QQ", 0, 2 | 1 << 63)


class Stop(NamedTuple):
    """A command, and what is to come of it."""

    op: int
    registers: Registers = Registers()
    operand: int = 0
    offset: int = 0
    data: bytes = b""
    vector: int = NO_EXCEPTION
    expected: dict = {}  # noqa: RUF012 - never written
    stored: bytes = b""
    instruction: bytes = b""

    @property
    def call(self):
        """The lowered call."""
        place = {"operand": self.operand, "offset": self.offset}
        given = {"instruction": self.instruction, "data": self.data}
        text = command(self.op, self.registers, **place, **given)
        return RunGuest("vcpu", "ram", text, len(self.stored))


def rax(value, **others):
    return Registers(rax=value, **others)


A = PayloadOp
TOKEN = Registers(rbx=3, rcx=STACKS)
TOKEN_COMMANDS = (A.SETSSBSY, A.CLRSSBSY, A.RSTORSSP, A.WRSS, A.SWITCH_STACKS)
TOUR = [
    Stop(A.NOP, rax(1, rbx=2, rcx=3, rdx=4), expected={"rax": 1, "rbx": 2, "rcx": 3, "rdx": 4}),
    Stop(A.UD2, vector=UD),
    Stop(len(A), vector=NO_COMMAND),
    Stop(A.READ_CR0, expected={"rax": CR0}),
    Stop(A.READ_CR4, expected={"rax": CR4}),
    # Leaf 0xd, subleaf 0: the components that XCR0 can have (SDM vol.1 13.2)
    Stop(A.CPUID, rax(0xD), expected={"rax": XCR0}),
    # Without CR4.OSXSAVE these do not exist (SDM vol.1 13.5.1).
    Stop(A.XGETBV, vector=UD),
    Stop(A.XSETBV, rax(7), vector=UD),
    Stop(A.LDTILECFG, vector=UD),
    Stop(A.LOAD_YMM, vector=UD),
    Stop(
        A.WRITE_CR4, rax(CR4 | CR4_OSXSAVE | CR4_PKE), expected={"cr4": CR4 | CR4_OSXSAVE | CR4_PKE}
    ),
    Stop(A.XGETBV, expected={"rax": 1, "rdx": 0}),
    Stop(A.LOAD_YMM, vector=UD),
    Stop(A.XSETBV, rax(XCR0 & ~0x20000), vector=GP),
    Stop(A.XSETBV_CPL3, rax(7), vector=GP),
    Stop(A.XSETBV, rax(XCR0)),
    Stop(A.XGETBV, expected={"rax": XCR0, "rdx": 0}),
    # CR0.TS makes x87 instructions #NM until CLTS.
    Stop(A.WRITE_CR0, rax(CR0 | CR0_TS), expected={"cr0": CR0 | CR0_TS}),
    Stop(A.FNOP, vector=NM),
    Stop(A.CLTS, expected={"cr0": CR0}),
    Stop(A.FNOP),
    # x87: the square root of -1, unmasked, is told by the next waiting instruction.
    Stop(A.FNINIT),
    Stop(A.FNSTCW, data=bytes(4), stored=b"\x7f\x03\0\0"),
    Stop(A.FLD1),
    Stop(A.FSTP, data=bytes(12), stored=ONE + b"\0\0"),
    Stop(A.FLDCW, data=b"\x7e\x03"),
    Stop(A.FLD, data=MINUS_ONE_M80),
    Stop(A.FSQRT),
    # Bits 0, 7 and 15: invalid, a summary of it, busy; 11-13: TOP is 7.
    Stop(A.FNSTSW, data=bytes(2), stored=b"\x81\xb8"),
    Stop(A.FWAIT, vector=MF),
    Stop(A.FNCLEX),
    Stop(A.FWAIT),
    Stop(A.FNINIT),
    # SSE
    Stop(A.STMXCSR, data=bytes(4), stored=b"\x80\x1f\0\0"),
    Stop(A.LDMXCSR, data=b"\0\1\0\1", vector=GP),
    Stop(A.LOAD_XMM, data=MINUS_ONES + PATTERN),
    Stop(A.STORE_XMM, data=bytes(256), stored=(MINUS_ONES + PATTERN)[:256]),
    Stop(A.LDMXCSR, data=b"\0\x1f\0\0"),
    Stop(A.SQRTPS, vector=XM),
    Stop(A.LDMXCSR, data=b"\x80\x1f\0\0"),
    # AVX and AVX-512
    Stop(A.LOAD_ZMM, data=PATTERN),
    Stop(A.STORE_ZMM, data=bytes(2048), stored=PATTERN),
    Stop(A.LOAD_YMM, data=PATTERN[::-1]),
    Stop(A.STORE_YMM, data=bytes(512), stored=PATTERN[::-1][:512]),
    Stop(A.VZEROUPPER),
    Stop(A.STORE_YMM, data=b"\1" * 512, stored=PATTERN[::-1][:16] + bytes(16)),
    Stop(A.VZEROALL),
    Stop(A.STORE_XMM, data=b"\1" * 256, stored=bytes(256)),
    Stop(A.LOAD_K, data=PATTERN),
    Stop(A.STORE_K, data=bytes(64), stored=PATTERN[:64]),
    # Protection keys: the payload's own pages have key 0, which PKRU forbids here for user pages.
    Stop(A.WRPKRU, rax(0xFFFF_FFFF)),
    Stop(A.RDPKRU, expected={"rax": 0xFFFF_FFFF, "rdx": 0}),
    Stop(A.WRPKRU, rax(0)),
    # Images: XSTATE_BV at 512, XCOMP_BV at 520 (SDM vol.1 13.4.2)
    Stop(A.FXSAVE64, offset=1, vector=GP),
    Stop(A.FXSAVE64, data=bytes(512), stored=b"\x7f\3"),
    Stop(A.FXRSTOR64, data=b"\x7f\2" + bytes(22) + b"\x80\x1f" + bytes(486)),
    Stop(A.FNSTCW, data=bytes(2), stored=b"\x7f\2"),
    Stop(A.XSAVE64, rax(1), data=bytes(1024), stored=b"\x7f\2"),
    Stop(A.XRSTOR64, rax(1), data=bytes(1024)),
    Stop(A.FNSTCW, data=bytes(2), stored=b"\x7f\3"),
    Stop(A.XSAVEOPT64, rax(3), data=bytes(1024), stored=bytes(24) + b"\x80\x1f"),
    # Nothing of a component in its initial state is written (SDM vol.1 13.10).
    Stop(A.XSAVEC64, rax(2), data=LEGACY + bytes(64), stored=LEGACY + COMPACTED_SSE),
    Stop(A.XSAVES64, rax(2), data=LEGACY + bytes(64), stored=LEGACY + COMPACTED_SSE),
    # XRSTORS takes compacted images only.
    Stop(A.XRSTORS64, rax(2), data=bytes(1024), vector=GP),
    Stop(A.XRSTORS64, rax(2), data=LEGACY + COMPACTED_SSE + bytes(48)),
    # Tiles: each element of TMM0 gets 64 products 1 * 2.
    Stop(A.TILELOADD, ROWS, operand=1, vector=UD),
    Stop(A.LDTILECFG, data=TILECFG),
    Stop(A.STTILECFG, data=bytes(64), stored=TILECFG),
    Stop(A.TILELOADD, ROWS, operand=1, data=b"\1" * 1024),
    Stop(A.TILELOADD, ROWS, operand=2, data=b"\2" * 1024),
    Stop(A.TILEZERO),
    Stop(A.TDPBSSD),
    Stop(A.TILESTORED, ROWS, data=bytes(1024), stored=struct.pack("<I", 128) * 256),
    Stop(A.TILELOADD, ROWS, operand=7, data=PATTERN[:1024]),
    Stop(A.TILESTORED, ROWS, operand=7, data=bytes(1024), stored=PATTERN[:1024]),
    Stop(A.WRMSR, rax(XTILE_DATA, rcx=IA32_XFD)),
    Stop(A.RDMSR, Registers(rcx=IA32_XFD), expected={"rax": XTILE_DATA, "rdx": 0}),
    Stop(A.TILEZERO, operand=7, vector=NM),
    Stop(A.RDMSR, Registers(rcx=IA32_XFD_ERR), expected={"rax": XTILE_DATA}),
    Stop(A.WRMSR, Registers(rcx=IA32_XFD_ERR)),
    Stop(A.WRMSR, Registers(rcx=IA32_XFD)),
    # Each exit saved the state, with XFD as if the tiles were initial (SDM vol.1 13.14).
    Stop(A.TILESTORED, ROWS, operand=7, data=b"\1" * 1024, stored=bytes(1024)),
    Stop(A.TILERELEASE),
    Stop(A.STTILECFG, data=b"\1" * 64, stored=bytes(64)),
    Stop(A.WRMSR, rax(1, rcx=IA32_XFD), vector=GP),
    # A page that is not mapped: the error code says "write" (SDM vol.3 4.7).
    Stop(A.FNSTCW, offset=0x4000_0000, vector=PF, expected={"error_code": 2, "cr2": 0x4001_0000}),
    Stop(A.FNSTCW, offset=-0x10000, data=bytes(2)),
    # CR4.CET=0: RDSSP is a NOP, the others are #UD (SDM vol.2); CALL, RET and JMP are as ever.
    Stop(A.RDSSP, rax(5), expected={"rax": 5}),
    Stop(A.INCSSP, rax(1), vector=UD),
    *(Stop(op, TOKEN, vector=UD, expected={"rbx": 3}) for op in TOKEN_COMMANDS),
    Stop(A.CALL),
    Stop(A.RETURN_ELSEWHERE),
    Stop(A.JUMP_UNTRACKED),
    # INC RAX, UD2 and DEC RAX, each in place of the one before.
    Stop(A.GIVEN, rax(1), instruction=b"\x48\xff\xc0", expected={"rax": 2}),
    Stop(A.GIVEN, instruction=b"\x0f\x0b", vector=UD),
    Stop(A.GIVEN, rax(1), instruction=b"\x48\xff\xc8", expected={"rax": 0}),
    # A nested guest: XSETBV, CPUID and VMCALL exit to L1 (SDM vol.3 26.1.2), and exceptions of the
    # bitmap.  L1 has CR4.VMXE from then on, and so has L2; each entry starts it anew.
    Stop(A.VMCALL, expected={"rax": NO_HYPERCALL}),
    Stop(A.ENTER_L2, rax(1 << UD, rcx=IA32_VMX_BASIC), expected={"rax": 0, "rcx": 0}),
    Stop(A.READ_CR4, expected={"rax": CR4 | CR4_OSXSAVE | CR4_PKE | CR4_VMXE}),
    Stop(A.XGETBV, expected={"rax": XCR0, "rdx": 0}),
    Stop(A.RDMSR, Registers(rcx=IA32_XFD), expected={"rax": 0}),
    Stop(A.XSETBV, rax(7), vector=EXITED, expected={"error_code": 55}),
    Stop(A.XSETBV, rax(7)),
    Stop(A.ENTER_L2, rax(1 << UD, rcx=IA32_VMX_BASIC)),
    Stop(A.XGETBV, expected={"rax": 7, "rdx": 0}),
    Stop(A.XGETBV, Registers(rcx=5), vector=GP),
    Stop(A.CPUID, vector=EXITED, expected={"error_code": 10}),
    Stop(A.ENTER_L2, rax(1 << UD, rcx=IA32_VMX_BASIC)),
    Stop(A.UD2, vector=EXITED, expected={"error_code": UD << 16}),
    Stop(A.UD2, vector=UD),
    Stop(A.ENTER_L2, rax(0, rcx=IA32_VMX_BASIC)),
    Stop(A.UD2, vector=UD),
    Stop(A.VMCALL, vector=EXITED, expected={"error_code": 18}),
]


def setup(vm="vm", vcpu="vcpu"):
    supported = Output(8 + 40 * 256, struct.pack("=II", 256, 0), "cpuid")
    return [
        Ioctl(ioctls.CREATE_VM.number, "kvm", Immediate(0), vm),
        Ioctl(ioctls.CREATE_VCPU.number, vm, Immediate(0), vcpu),
        Ioctl(ioctls.GET_SUPPORTED_CPUID.number, "kvm", supported),
        Ioctl(ioctls.SET_CPUID2.number, vcpu, Captured("cpuid")),
    ]


START = [
    ArchPrctl(ArchPrctlCode.REQ_XCOMP_GUEST_PERM, Immediate(XTILE_DATA_NR)),
    OpenKvm("kvm"),
    *setup(),
    MapPayload("vm", "ram"),
]


@pytest.fixture(scope="module")
def driver():
    archives = Archives(Cache.from_environment())
    with (
        EmulatedHost.prepare(archives, KERNEL, None, Silent()) as place,
        place.open() as link,
    ):
        yield Driver(link, place.timing)


@pytest.fixture(scope="module")
def execute(driver):
    """Run calls, one a step, behind START; returns how that ended, and the replies."""

    def execute(*calls, gate=0):
        scenario = sequence("test.payload", *map(RawCall, [*START, *calls]))
        ((_, trace),) = driver.traces([Request(scenario, gate)], AMX_HOST)
        return trace.end, [step.replies[0] for step in trace.steps[len(START) :]]

    return execute


@pytest.fixture(scope="module")
def replies(execute):
    end, replies = execute(*(stop.call for stop in TOUR))
    assert end is End.DONE
    return replies


def run(op, registers=NONE, *, vcpu="vcpu", data=b"", size=0):
    return RunGuest(vcpu, "ram", command(op, registers, data=data), size)


ENABLE = [run(A.WRITE_CR4, rax(CR4 | CR4_OSXSAVE)), run(A.XSETBV, rax(XCR0))]


@pytest.mark.parametrize(
    "position",
    range(len(TOUR)),
    ids=lambda n: f"{n}-{A(TOUR[n].op).name if TOUR[n].op in set(A) else 'none'}",
)
def test_the_command_does_what_the_manual_says(replies, position):
    stop, reply = TOUR[position], replies[position]
    result = PayloadResult.parse(reply.output)
    assert (reply.result, result.sequence) == (0, position + 1)
    assert (result.vector, result.rip) == (stop.vector, 0)
    assert result.returned == (stop.vector == NO_EXCEPTION)
    assert {name: getattr(result, name) for name in stop.expected} == stop.expected
    assert reply.output[RESULT_SIZE:] == stop.stored


def test_every_command_is_tried():
    # SPIN has no result: a call waits for KVM_RUN of it.
    assert {stop.op for stop in TOUR} >= set(A) - {A.SPIN}


@pytest.mark.parametrize("kick", Kick)
def test_a_call_waits_for_a_guest_that_spins_and_comes_after_it(execute, kick):
    read = Ioctl(ioctls.GET_XSAVE2.number, "vcpu", Output(XSAVE_SIZE))
    load = run(A.LOAD_XMM, data=PATTERN[:256])
    end, (_, waited, after) = execute(load, DuringRun(read, "ram", kick), run(A.NOP))
    assert (end, waited.result) == (End.DONE, 0)
    assert waited.output[XMM : XMM + 256] == PATTERN[:256]
    assert PayloadResult.parse(after.output).sequence == 2


def test_a_call_that_does_not_wait_is_told(execute):
    # An ioctl that is not KVM's is refused before the vCPU's mutex: virt/kvm/kvm_main.c:
    # kvm_vcpu_ioctl.  asm-generic/ioctls.h: FIONREAD
    other = DuringRun(Ioctl(0x541B, "vcpu", Immediate(0)), "ram", Kick.BY_SIGNAL)
    end, (told, after) = execute(other, run(A.NOP))
    assert (end, told.result) == (End.DONE, RunFault.NOT_WAITED)
    assert PayloadResult.parse(after.output).sequence == 1


def test_an_exit_that_is_not_the_payloads_is_the_result(execute):
    # 1 MiB is mapped for the guest, but has no memory: KVM_EXIT_MMIO, linux/kvm.h.
    store = RunGuest("vcpu", "ram", command(A.FNSTCW, offset=0x10_0000), 0)
    end, (reply,) = execute(store)
    assert (end, reply.result) == (End.DONE, 6)
    assert PayloadResult.parse(reply.output).sequence == 0


def test_two_vcpus_take_turns(execute):
    second = [
        Ioctl(ioctls.CREATE_VCPU.number, "vm", Immediate(1), "second"),
        Ioctl(ioctls.SET_CPUID2.number, "second", Captured("cpuid")),
    ]
    load = run(A.LOAD_XMM, data=PATTERN[:256])
    other = run(A.LOAD_XMM, data=PATTERN[256::-1][:256], vcpu="second")
    store = run(A.STORE_XMM, data=bytes(256), size=256)
    end, replies = execute(*second, load, other, store)
    assert end is End.DONE
    assert PayloadResult.parse(replies[-1].output).sequence == 3
    assert replies[-1].output[RESULT_SIZE:] == PATTERN[:256]


def test_a_vcpu_moved_to_another_vm_goes_on_there(execute):
    def move(spec_get, spec_set, size):
        return [
            Ioctl(spec_get.number, "vcpu", Output(size, capture=spec_get.name)),
            Ioctl(spec_set.number, "moved", Captured(spec_get.name)),
        ]

    end, replies = execute(
        run(A.NOP),
        *setup("other", "moved"),
        SharePayload("other", "ram"),
        *move(ioctls.GET_SREGS, ioctls.SET_SREGS, ioctls.GET_SREGS.size),
        *move(ioctls.GET_REGS, ioctls.SET_REGS, ioctls.GET_REGS.size),
        run(A.READ_CR4, vcpu="moved"),
    )
    assert (end, replies[-1].result) == (End.DONE, 0)
    result = PayloadResult.parse(replies[-1].output)
    assert (result.sequence, result.rax) == (2, CR4)


def test_a_task_and_a_sleeping_literal_change_what_the_guest_has(execute):
    image = bytearray(4096 + 8192)
    struct.pack_into("<HH", image, 0, 0x27F, 0)
    struct.pack_into("<I", image, 24, 0x1F80)
    struct.pack_into("<Q", image, 512, 1)
    set_xsave = Ioctl(ioctls.SET_XSAVE.number, "vcpu", SleepingLiteral(bytes(image)), by="other")
    spawn = Spawn("other", Relation.SHARED_MM)
    end, replies = execute(spawn, set_xsave, run(A.FNSTCW, data=bytes(2), size=2))
    assert (end, [reply.result for reply in replies]) == (End.DONE, [0, 0, 0])
    assert replies[-1].output[RESULT_SIZE:] == b"\x7f\2"


@pytest.mark.parametrize("relation", list(Relation))
def test_each_task_is_told_the_permissions(execute, relation):
    asked = ArchPrctl(ArchPrctlCode.GET_XCOMP_GUEST_PERM, Output(8), by="other")
    end, replies = execute(Spawn("other", relation), asked)
    permitted = int.from_bytes(replies[-1].output, "little")
    # Documentation/arch/x86/xstate.rst: inherited by fork, gone after exec
    assert end is End.DONE
    assert bool(permitted & XTILE_DATA) == (relation is not Relation.EXEC)


# What is not to be loaded

CONFLICT = [
    Ioctl(
        ioctls.SET_XSAVE.number,
        "vcpu",
        Literal(
            bytes(24) + b"\x80\x1f" + bytes(486) + struct.pack("<Q", 0x60000) + bytes(11008 - 520)
        ),
    ),
    Ioctl(
        ioctls.SET_MSRS.number,
        "vcpu",
        Literal(struct.pack("<IIIIQ", 1, 0, IA32_XFD, 0, XTILE_DATA)),
    ),
    Ioctl(ioctls.GET_XSAVE2.number, "vcpu", Output(11008)),
    Ioctl(ioctls.GET_MSRS.number, "vcpu", Output(24, struct.pack("<IIII", 1, 0, IA32_XFD, 0))),
]


# asm/kvm.h: KVM_X86_REG_MSR: KVM_REG_X86, KVM_REG_SIZE_U64, KVM_X86_REG_TYPE_MSR, the index
ONE_REG = struct.pack("<QQ", 0x2030_0002_0000_0000 | IA32_U_CET, 0)


def of_msr(spec, argument, index):
    return Ioctl(spec.number, "vcpu", argument(struct.pack("<IIIIQ", 1, 0, index, 0, 0)))


def output(content):
    return Output(len(content), content)


@pytest.mark.parametrize(
    "load",
    [
        RunVcpu("vcpu", 1),
        run(A.NOP),
        of_msr(ioctls.GET_MSRS, output, IA32_U_CET),
        of_msr(ioctls.SET_MSRS, Literal, IA32_U_CET),
        of_msr(ioctls.SET_MSRS, SleepingLiteral, IA32_U_CET),
        Ioctl(ioctls.GET_ONE_REG.number, "vcpu", OutputBehind(ONE_REG, 8, 8)),
        Ioctl(ioctls.SET_ONE_REG.number, "vcpu", Literal(ONE_REG)),
    ],
    ids=["run", "guest", "get-cet", "set-cet", "set-cet-sleeping", "get-one-cet", "set-one-cet"],
)
def test_a_fatal_load_is_held(execute, load):
    end, replies = execute(*ENABLE, *CONFLICT, load, gate=1)
    assert (end, len(replies)) == (End.GATED, len(ENABLE) + len(CONFLICT))


@pytest.mark.parametrize("index", [IA32_XFD, IA32_XSS])
def test_an_msr_that_loads_nothing_is_not_held(execute, index):
    end, _ = execute(*ENABLE, *CONFLICT, of_msr(ioctls.GET_MSRS, output, index), gate=1)
    assert end is End.DONE


def test_another_vcpu_is_not_held(execute):
    end, replies = execute(
        *ENABLE, *CONFLICT, *setup("other", "second"), RunVcpu("second", 1), gate=1
    )
    assert (end, replies[-1].result) == (End.DONE, -4)
