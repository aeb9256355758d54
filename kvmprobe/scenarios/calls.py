"""The lowered form of ops: the few things a kernel can be asked.

Interpreters (the worker, a C emitter) know these and no op.  Descriptors, run areas and captured
outputs have names: the kernel's own output is fed back to the kernel.
"""

from __future__ import annotations

import base64
import zlib
from dataclasses import dataclass
from typing import Any

from kvmprobe.errors import ScenarioError

CANARY = 0xA5


@dataclass(frozen=True, slots=True)
class Immediate:
    """An integer argument."""

    value: int


@dataclass(frozen=True, slots=True)
class Literal:
    """Bytes that the kernel reads."""

    content: bytes


@dataclass(frozen=True, slots=True)
class Output:
    """A buffer of ``size`` bytes that the kernel writes.

    It begins with ``head`` and is filled up with CANARY, so that what was not written shows.
    ``capture`` names the output for a later :class:`Captured`.
    """

    size: int
    head: bytes = b""
    capture: str = ""


@dataclass(frozen=True, slots=True)
class Captured:
    """The output that an earlier call captured."""

    name: str


Argument = Immediate | Literal | Output | Captured


@dataclass(frozen=True, slots=True)
class OpenKvm:
    """Open /dev/kvm as descriptor ``binds``."""

    binds: str


@dataclass(frozen=True, slots=True)
class Ioctl:
    """``ioctl(on, number, argument)``; a descriptor it returns is bound to ``binds``."""

    number: int
    on: str
    argument: Argument
    binds: str = ""


@dataclass(frozen=True, slots=True)
class ArchPrctl:
    """``arch_prctl(code, feature_nr)``."""

    code: int
    feature_nr: int


@dataclass(frozen=True, slots=True)
class MapMemory:
    """Give VM ``on`` memory with ``content`` at a guest-physical address (bytes), in a slot."""

    on: str
    slot: int
    guest_address: int
    content: bytes


@dataclass(frozen=True, slots=True)
class RunVcpu:
    """KVM_RUN on vCPU ``on`` with that ``immediate_exit``; its output is the u32 exit reason.

    Loads the guest's fpstate into the host's registers.
    """

    on: str
    immediate_exit: int


Call = OpenKvm | Ioctl | ArchPrctl | MapMemory | RunVcpu

_CALLS: dict[str, type[Call]] = {
    c.__name__: c for c in (OpenKvm, Ioctl, ArchPrctl, MapMemory, RunVcpu)
}
_ARGUMENTS: dict[str, type[Argument]] = {
    a.__name__: a for a in (Immediate, Literal, Output, Captured)
}


def pack(content: bytes | bytearray) -> str:
    """Encode bytes for a line of JSON."""
    return base64.b64encode(zlib.compress(content, 1)).decode()


def unpack(text: str) -> bytes:
    """Decode what :func:`pack` made."""
    return zlib.decompress(base64.b64decode(text))


def to_wire(call: Call) -> list[Any]:
    """Encode a call as a JSON array: its kind, then its fields."""
    return [type(call).__name__, *(_value_to_wire(getattr(call, f)) for f in call.__slots__)]


def from_wire(wire: list[Any]) -> Call:
    """Decode what :func:`to_wire` made.

    :raises ScenarioError: unknown kind, or fields that do not fit it
    """
    try:
        kind, *values = wire
        return _CALLS[kind](*(_value_from_wire(v) for v in values))
    except (KeyError, TypeError, ValueError, zlib.error) as error:
        raise ScenarioError(f"not a lowered call: {wire!r} ({error})") from error


def _value_to_wire(value: Any) -> Any:  # noqa: ANN401 - JSON
    match value:
        case bytes():
            return {"bytes": pack(value)}
        case Immediate() | Literal() | Output() | Captured():
            fields = [_value_to_wire(getattr(value, f)) for f in value.__slots__]
            return [type(value).__name__, *fields]
        case _:
            return value


def _value_from_wire(value: Any) -> Any:  # noqa: ANN401 - JSON
    match value:
        case {"bytes": str(text)}:
            return unpack(text)
        case [str(kind), *fields]:
            return _ARGUMENTS[kind](*(_value_from_wire(f) for f in fields))
        case _:
            return value
