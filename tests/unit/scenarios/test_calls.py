import json

import pytest

from kvmprobe.errors import ScenarioError
from kvmprobe.scenarios.calls import (
    ArchPrctl,
    Captured,
    Immediate,
    Ioctl,
    Literal,
    MapMemory,
    OpenKvm,
    Output,
    RunVcpu,
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
    ArchPrctl(0x1025, 18),
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
    ],
    ids=str,
)
def test_what_is_no_call_is_refused(wire):
    with pytest.raises(ScenarioError, match="not a lowered call"):
        from_wire(wire)


def test_packed_bytes_are_one_line_of_ascii():
    assert pack(bytes(range(256)) * 43).isascii()
    assert "\n" not in pack(bytes(range(256)) * 43)


def test_unpacking_gives_the_bytes_back():
    assert unpack(pack(bytearray(b"\xa5" * 11072))) == b"\xa5" * 11072
