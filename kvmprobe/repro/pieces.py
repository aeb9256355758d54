"""Small parts of the calls' C: names, integer arguments, blank outputs, patches."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from kvmprobe.abi import ioctls
from kvmprobe.abi.numbers import ArchPrctlCode, KvmCap, Msr
from kvmprobe.abi.payload import PayloadOp
from kvmprobe.repro.ctext import number
from kvmprobe.repro.fill import statements
from kvmprobe.scenarios.calls import (
    ArchPrctl,
    Close,
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

_SPECS = {spec.number: spec for spec in ioctls.ALL}
_MSR_LISTS = frozenset({ioctls.GET_MSRS.number, ioctls.SET_MSRS.number})
_ONE_REGS = frozenset({ioctls.GET_ONE_REG.number, ioctls.SET_ONE_REG.number})
# arch/x86/kvm/x86.c: is_xstate_managed_msr; cdefs/hold.c watches the same.
_CET = frozenset({Msr.IA32_U_CET, Msr.IA32_S_CET, *range(Msr.IA32_PL0_SSP, 0x6A9)})
_USUAL = frozenset({"kvm", "vm", "vcpu0"})
_MSRS_HEAD, _MSR_ENTRY = 8, 16


def wish(call: Call) -> str:
    """Return the name that a call's function should have."""
    match call:
        case Ioctl(number=request, on=on, binds=binds):
            name = _SPECS[request].name.removeprefix("KVM_") if request in _SPECS else "ioctl"
            which = binds or on
            return name if which in _USUAL else f"{name} {which}"
        case ArchPrctl(code):
            known = code in set(ArchPrctlCode)
            return ArchPrctlCode(code).name if known else "arch_prctl_unknown"
        case RunVcpu(immediate_exit=1):
            return "run_vcpu_immediate_exit"
        case RunGuest(command=command):
            (opcode,) = struct.unpack_from("=I", command)
            return f"guest {PayloadOp(opcode).name}"
        case _:
            return _wish_of_process(call)


def _wish_of_process(call: Call) -> str:
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
    return _SPECS[request].name if request in _SPECS else number(request)


def plain(value: int) -> str:
    """Return an integer argument of a variadic function: it has to be as wide as a register."""
    return f"{value}UL" if value < 1 << 16 else f"{value:#x}UL"


def immediate(request: int, value: int) -> str:
    """Return an ioctl's integer argument, by its name if it has one."""
    if request == ioctls.CHECK_EXTENSION.number and value in set(KvmCap):
        return f"KVM_CAP_{KvmCap(value).name}"
    spec = _SPECS.get(request)
    pointer = spec is not None and spec.size > 0
    return "NULL" if pointer and value == 0 else plain(value)


def blank(buffer: str, size: int, head: bytes) -> list[str]:
    """Return the statements that make an output what it is before the call."""
    lines = [f"memset({buffer}, CANARY, {size});"] if size > len(head) else []
    if head:
        lines += [f"memset({buffer}, 0, {len(head)});", *statements(head, buffer)]
    return lines


def patch(offset: int, content: bytes) -> list[str]:
    """Return the statements that write over a kept output."""
    if len(content) in {4, 8}:
        value = number(int.from_bytes(content, "little"))
        return [f"put_u{8 * len(content)}(bytes + {offset}, {value});"]
    return [
        f"memset(bytes + {offset}, 0, {len(content)});",
        *statements(content, f"bytes + {offset}"),
    ]


def loads_guest_fpu(call: Call) -> bool:
    """Tell whether a call can load the guest's FPU into the host's registers."""
    match call:
        case RunVcpu() | RunGuest():
            return True
        case Ioctl(request, _, argument) if request in _MSR_LISTS:
            return bool(_CET.intersection(_indices(_given(argument))))
        case Ioctl(request, _, argument) if request in _ONE_REGS:
            return int.from_bytes(_given(argument)[:4], "little") in _CET
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
    places = range(_MSRS_HEAD, len(entries) - _MSR_ENTRY + 1, _MSR_ENTRY)
    return [struct.unpack_from("=I", entries, place)[0] for place in places]
