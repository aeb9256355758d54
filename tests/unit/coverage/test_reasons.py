"""Reasons of blocks, on small pieces of code."""

import pytest

from kvmprobe.coverage.functions import KernelFunction, KernelFunctions
from kvmprobe.coverage.measured import Measured
from kvmprobe.coverage.reasons import Explained, Kind, Reason, reasons
from kvmprobe.coverage.scope import Scope
from tests.support.covered_code import CODE, FUNCTIONS, START


def measured(*reached: int) -> Measured:
    function = KernelFunction("kvm", "f.isra.0", START, CODE)
    bits = sum(1 << number for number in reached)
    return Measured.of(KernelFunctions((function,), FUNCTIONS.names), {"s": bits})


def numbers(found: Measured, reason: Reason) -> list[int]:
    return sorted(Explained.of(found, "7.3.4", [reason]).reason)


def test_the_code_has_the_blocks_that_the_tests_assume() -> None:
    found = measured(0, 1, 2)
    calls = [found.disassembly.called(block) for block in found.blocks]
    assert calls == ["", "", "", "vmwrite_error", "", "other", ""]


def test_a_call_explains_what_is_behind_it_as_well() -> None:
    assert numbers(measured(0, 1, 2), Reason("", calls=("vmwrite_*",))) == [3, 4]


def test_a_block_that_can_be_reached_in_another_way_is_not_explained() -> None:
    # Block 2 also comes after block 1.
    assert numbers(measured(0), Reason("", calls=("vmwrite_*",))) == [3, 4]


def test_what_leads_only_to_an_explained_block_is_explained() -> None:
    reason = Reason("", at={"7.3.4": ["f.isra.0+0xc", "f.isra.0+0x15"]})
    assert 1 in numbers(measured(0), reason)


def test_a_comparison_before_the_block_explains_it() -> None:
    reason = Reason("", decided_by=r"^cmp \w+,0xaea3$")
    assert numbers(measured(0, 1, 2), reason) == [5, 6]


def test_a_place_is_of_one_kernel() -> None:
    reason = Reason("", at={"6.12.95": ["f.isra.0+0xd"]})
    assert numbers(measured(0, 1, 2), reason) == []


@pytest.mark.parametrize(("function", "expected"), [("f", [3, 4]), ("g", [])])
def test_a_function_is_named_as_in_c(function: str, expected: list[int]) -> None:
    reason = Reason("", functions=(function,), calls=("vmwrite_error",))
    assert numbers(measured(0, 1, 2), reason) == expected


def test_a_block_that_cannot_execute_and_did_refutes_its_reason() -> None:
    found = measured(0, 1, 2, 3)
    for never, refuted in ((True, [3]), (False, [])):
        listed = [Reason("", calls=("vmwrite_error",), never=never)]
        assert Explained.of(found, "7.3.4", listed).contradicted(found) == refuted


def test_a_block_without_an_entry() -> None:
    # ret; ret
    function = KernelFunction("kvm", "f", START, bytes.fromhex("c3c3"))
    found = Measured.of(KernelFunctions((function,)), {"s": 1})
    assert numbers(found, Reason("", kind=Kind.NO_ENTRY)) == [1]


def test_each_reason_of_the_file_is_about_functions_in_scope() -> None:
    listed = [name for group in Scope.load().groups for name in group.functions]
    for reason in reasons():
        assert reason.text
        for name in set(reason.functions) - {"*"}:
            assert name in listed, f"{reason.text}: {name}"
