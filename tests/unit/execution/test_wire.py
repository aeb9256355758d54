"""The lines that define calls; ``tests/native`` has what the executor makes of them."""

from __future__ import annotations

from typing import get_args

import pytest

from kvmprobe.abi.executor import CallKind
from kvmprobe.errors import ScenarioError
from kvmprobe.execution.wire import bytes_from_wire, bytes_to_wire, define
from kvmprobe.scenarios.calls import (
    CANARY,
    ArchPrctl,
    Argument,
    Call,
    Captured,
    Close,
    DuringRun,
    GoOnInChild,
    Immediate,
    Ioctl,
    Kick,
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
    GoOnInChild(),
    MapPayload("vm", "ram"),
    SharePayload("vm", "ram"),
    RunGuest("vcpu0", "ram", bytes(64) + b"data", 1024),
    DuringRun(Ioctl(1, "vcpu0", Immediate(3)), "ram", Kick.BY_SIGNAL),
    DuringRun(Ioctl(1, "vcpu0", Immediate(3)), "ram", Kick.WITH_IMMEDIATE_EXIT),
    MapMemory("vm", 0, 0xFFFFF000, b"\xf4"),
    RunVcpu("vcpu0", 1),
    RunVcpu("vcpu0", 0, ((16, b"\1" * 8), (288, b"\7" + bytes(7))), 816),
]


# The members before and after the names: read_call in native/wire.c has the order.
HEAD, NAMES = 5, 5


@pytest.mark.parametrize("call", CALLS, ids=lambda c: type(c).__name__)
def test_a_call_is_one_line_of_ascii(call):
    words = define(call).words
    assert words.isascii()
    assert "\n" not in words


def test_every_kind_of_call_and_argument_is_tried():
    kinds = {type(call) for call in CALLS}
    arguments = {type(call.argument) for call in CALLS if isinstance(call, Ioctl)}
    assert (kinds, arguments) == (set(get_args(Call)), set(get_args(Argument)))


def test_every_kind_of_the_executor_is_used():
    assert {int(define(call).words.split()[0], 16) for call in CALLS} == set(CallKind)


def test_different_calls_have_different_lines():
    lines = {define(call).words for call in CALLS}
    assert len(lines) == len(CALLS)


def test_a_name_that_is_empty_is_no_name():
    words = define(Close("")).words.split()
    assert words[HEAD : HEAD + NAMES] == ["-"] * NAMES


def test_an_empty_input_is_an_input():
    assert define(Ioctl(1, "kvm", Literal(b""))).words.split()[HEAD + NAMES] == "0/0"


def test_what_is_kept_is_counted():
    assert define(Ioctl(1, "kvm", Literal(bytes(5000)))).size > 5000


def test_an_argument_that_a_call_cannot_take_is_refused():
    with pytest.raises(ScenarioError, match="cannot take this argument"):
        define(ArchPrctl(1, Literal(b"")))


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", "0/0"),
        (bytes(4096), "1000/0"),
        (b"\1" + bytes(100) + b"\2", "66/0,0:AQ==,65:Ag=="),
        (b"\1" + bytes(8) + b"\2", "a/0,0:AQAAAAAAAAAAAg=="),
    ],
)
def test_only_bytes_that_differ_are_sent(content, word):
    assert bytes_to_wire(content) == word
    assert bytes_from_wire(word) == content


def test_an_output_is_filled_with_the_canary():
    words = define(Ioctl(1, "vm", Output(4096, b"\1"))).words
    assert f"1000/{CANARY:x},0:AQ==" in words.split()


def test_bytes_of_a_terabyte_are_refused():
    with pytest.raises(ValueError, match="1099511627776 bytes from the executor"):
        bytes_from_wire("10000000000/0")
