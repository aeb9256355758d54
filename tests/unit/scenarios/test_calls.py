import json
from typing import get_args

import pytest

from kvmprobe.errors import ScenarioError
from kvmprobe.scenarios.calls import (
    ArchPrctl,
    Argument,
    Call,
    Captured,
    Close,
    Immediate,
    Ioctl,
    LimitDescriptors,
    Literal,
    LiteralAtPageEnd,
    MapMemory,
    MapPayload,
    OpenKvm,
    Output,
    OutputAtPageEnd,
    OutputBehind,
    Relation,
    RunGuest,
    RunVcpu,
    SetAltStack,
    SharePayload,
    SleepingLiteral,
    Spawn,
    from_wire,
    pack,
    to_wire,
    unpack,
)

CALLS = [
    OpenKvm("kvm"),
    Ioctl(0xAE01, "kvm", Immediate(0), binds="vm"),
    Ioctl(0x5000AEA5, "vcpu0", Literal(bytes(range(256)) * 16)),
    Ioctl(0x9000AECF, "vcpu0", Output(11072, b"\1\2", capture="image")),
    Ioctl(0x4008AE90, "vcpu0", Captured("supported-cpuid")),
    Ioctl(0x5000AEA5, "vcpu0", Captured("image", ((512, b"\3"), (0, b"\x7f\2"))), by="other"),
    Ioctl(0x9000AECF, "vcpu0", OutputAtPageEnd(11072, b"\1\2")),
    Ioctl(0x4018AEE2, "kvm", OutputBehind(bytes(24), 16, 8, b"before")),
    Ioctl(0x5000AEA5, "vcpu0", LiteralAtPageEnd(b"\0" * 4096)),
    Ioctl(0x5000AEA5, "vcpu0", SleepingLiteral(b"\0" * 4096), by="other"),
    ArchPrctl(0x1025, Immediate(18)),
    ArchPrctl(0x1024, Output(8), by="other"),
    SetAltStack(4096),
    SetAltStack(4096, "other"),
    LimitDescriptors(),
    Close("vcpu0"),
    *(Spawn("other", relation) for relation in Relation),
    MapPayload("vm", "ram"),
    SharePayload("vm", "ram"),
    RunGuest("vcpu0", "ram", bytes(64) + b"data", 1024),
    MapMemory("vm", 0, 0xFFFFF000, b"\xf4"),
    RunVcpu("vcpu0", 1),
]


@pytest.mark.parametrize("call", CALLS, ids=lambda c: type(c).__name__)
def test_a_call_survives_a_line_of_json(call):
    assert from_wire(json.loads(json.dumps(to_wire(call)))) == call


@pytest.mark.parametrize(
    "wire",
    [
        ["Fork"],
        [],
        ["OpenKvm"],
        ["OpenKvm", "kvm", "more"],
        ["Ioctl", 1, "kvm", ["Pointer", 1]],
        ["Ioctl", 1, "kvm", ["Literal", {"bytes": "!"}]],
        ["Spawn", "other", "twin"],
    ],
    ids=str,
)
def test_what_is_no_call_is_refused(wire):
    with pytest.raises(ScenarioError, match="not a lowered call"):
        from_wire(wire)


def test_every_kind_of_call_and_argument_is_tried():
    kinds = {type(call) for call in CALLS}
    arguments = {type(call.argument) for call in CALLS if isinstance(call, Ioctl)}
    assert (kinds, arguments) == (set(get_args(Call)), set(get_args(Argument)))


def test_packed_bytes_are_one_line_of_ascii():
    assert pack(bytes(range(256)) * 43).isascii()
    assert "\n" not in pack(bytes(range(256)) * 43)


def test_unpacking_gives_the_bytes_back():
    assert unpack(pack(bytearray(b"\xa5" * 11072))) == b"\xa5" * 11072
