"""Small parts of the C for calls: names, integer arguments, blank outputs, patches."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from kvmprobe.abi import fpu_loads, ioctls
from kvmprobe.abi.numbers import ArchPrctlCode, KvmCap
from kvmprobe.abi.payload import PayloadOp
from kvmprobe.abi.tables import MSRS
from kvmprobe.repro.ctext import number
from kvmprobe.repro.fill import statements
from kvmprobe.scenarios.calls import (
    ArchPrctl,
    Close,
    DuringRun,
    Ioctl,
    Literal,
    OpenKvm,
    Output,
    OutputBehind,
    RunGuest,
    RunVcpu,
    SetAltStack,
    Spawn,
)

if TYPE_CHECKING:
    from kvmprobe.scenarios.calls import Argument, Call

_USUAL = frozenset({"kvm", "vm", "vcpu0"})


def preferred_name(call: Call) -> str:
    """Return the preferred name of a call's function."""
    match call:
        case Ioctl(number=request, on=on, binds=binds):
            spec = ioctls.BY_NUMBER.get(request)
            name = spec.name.removeprefix("KVM_") if spec else "ioctl"
            which = binds or on
            return name if which in _USUAL else f"{name} {which}"
        case ArchPrctl(code):
            known = code in set(ArchPrctlCode)
            return ArchPrctlCode(code).name if known else "arch_prctl_unknown"
        case RunVcpu(immediate_exit=1):
            return "run_vcpu_immediate_exit"
        case DuringRun(ioctl):
            return f"{preferred_name(ioctl)} during run"
        case RunGuest(command=command):
            (opcode,) = struct.unpack_from("=I", command)
            return f"guest {PayloadOp(opcode).name}"
        case _:
            return _name_in_process(call)


def _name_in_process(call: Call) -> str:
    match call:
        case Spawn(binds):
            return f"start {binds}"
        case SetAltStack(size):
            return f"alt_stack of {size}"
        case OpenKvm():
            return "open_device"
        case Close(on):
            return f"close {on}"
        case _:
            return f"{_snake(type(call).__name__)} {getattr(call, 'binds', '')}"


def _snake(name: str) -> str:
    return "".join(f"_{c}" if c.isupper() else c for c in name)


def request_name(request: int) -> str:
    """Return an ioctl's name."""
    spec = ioctls.BY_NUMBER.get(request)
    return spec.name if spec else number(request)


def plain(value: int) -> str:
    """Return an integer argument of a variadic function, which must be as wide as a register."""
    return f"{value}UL" if value < 1 << 16 else f"{value:#x}UL"


def immediate(request: int, value: int) -> str:
    """Return the integer argument of an ioctl, by name if it has one."""
    if request == ioctls.CHECK_EXTENSION.number and value in set(KvmCap):
        return f"KVM_CAP_{KvmCap(value).name}"
    spec = ioctls.BY_NUMBER.get(request)
    pointer = spec is not None and spec.size > 0
    return "NULL" if pointer and value == 0 else plain(value)


def blank(buffer: str, size: int, head: bytes) -> list[str]:
    """Return the statements that fill an output before the call."""
    lines = [f"memset({buffer}, CANARY, {size});"] if size > len(head) else []
    if head:
        lines += [f"memset({buffer}, 0, {len(head)});", *statements(head, buffer)]
    return lines


def patch(offset: int, content: bytes) -> list[str]:
    """Return the statements that patch a captured output."""
    if len(content) in {4, 8}:
        value = number(int.from_bytes(content, "little"))
        return [f"put_u{8 * len(content)}(bytes + {offset}, {value});"]
    return [
        f"memset(bytes + {offset}, 0, {len(content)});",
        *statements(content, f"bytes + {offset}"),
    ]


def run_patch(area: str, offset: int, content: bytes) -> list[str]:
    """Return the statement that patches the run area: a member of it, or one of its registers."""
    head = ioctls.KVM_RUN_HEAD
    value = number(int.from_bytes(content, "little"))
    member = next((name for name, (at, _) in head.places().items() if at == offset), "")
    if member:
        return [f"{area}->{member} = {value};"]
    registers = f"(uint8_t *)&{area}->s.regs + {offset - head.size}"
    return [f"put_u{8 * len(content)}({registers}, {value});"]


def loads_guest_fpu(call: Call) -> bool:
    """Return True if a call can load the guest's FPU state into the host's registers."""
    match call:
        case RunVcpu() | RunGuest() | DuringRun():
            return True
        case Ioctl(request, _, argument) if request in fpu_loads.MSR_LISTS:
            return bool(set(fpu_loads.LOADING_MSRS) & set(_indices(_given(argument))))
        case Ioctl(request, _, argument) if request in fpu_loads.ONE_REGISTERS:
            return int.from_bytes(_given(argument)[:4], "little") in fpu_loads.LOADING_MSRS
        case _:
            return False


def _given(argument: Argument) -> bytes:
    match argument:
        case Literal(content):
            return content
        case Output(head=head) | OutputBehind(head=head):
            return head
        case _:
            return b""


def _indices(entries: bytes) -> list[int]:
    whole = max(len(entries) - MSRS.offset(0), 0) // MSRS.entry.packed.size
    return [index for index, _ in MSRS.entries(entries, whole)]
