"""Coverage as text, and in the page."""

import pytest

from kvmprobe.coverage.measured import Measured
from kvmprobe.reports.coverage import block_lines, coverage_lines, diff_lines
from kvmprobe.results.record import Target
from tests.support.covered_code import FUNCTIONS

LAB = Target("lab", "7.3.4", "a package")


def measured(**scenarios):
    return Measured.of(FUNCTIONS, scenarios)


def test_each_function_has_its_numbers_and_who_reached_it_first():
    headline, _, row = coverage_lines(LAB, measured(first=0b001, second=0b111))
    assert headline == (
        "emulated host, 7.3.4: 1 functions, 7 basic blocks: 3 reached (42.9 %), "
        "2 not reached for a known reason, 2 open: 71.4 % reached or with a reason"
    )
    assert row.split() == ["kvm:", "__kvm_set_xcr", "7", "3", "2", "2", "first"]


def test_a_block_that_should_be_unreachable_is_named():
    *_, last = coverage_lines(LAB, measured(s=0b1001))
    assert last == "  __kvm_set_xcr+0xe: has a reason not to be reached, but s did"


def test_unreached_blocks_have_their_reason_or_the_nearest_call():
    lines = list(block_lines(LAB, measured(s=0b111), lambda _name: True, {}, unreached=True))
    assert lines[1].startswith("__kvm_set_xcr+0xe: not reached: VMREAD, VMWRITE")
    assert lines[2] == "    call vmwrite_error"
    assert "__kvm_set_xcr+0x15: open; nearest call: other" in lines


def test_reached_blocks_have_their_scenario():
    lines = list(block_lines(LAB, measured(s=1), lambda _name: True, {}, unreached=False))
    assert lines[1:4] == [
        "__kvm_set_xcr+0x0: first reached by s",
        "    test edi,edi",
        "    je __kvm_set_xcr+0xe",
    ]


@pytest.mark.parametrize("swapped", [False, True])
def test_a_difference_names_the_blocks_of_one_side(swapped):
    runs = [("one", measured(s=0b001)), ("two", measured(t=0b101))]
    (before_name, before), (after_name, after) = reversed(runs) if swapped else runs
    head, line = diff_lines(LAB, before, after, before_name, after_name)
    assert head == (
        f"emulated host, 7.3.4: 7 blocks: {before.reached.bit_count()} reached by {before_name}, "
        f"{after.reached.bit_count()} by {after_name}: 1 reached by both, "
        f"{int(swapped)} only by {before_name}, {int(not swapped)} only by {after_name}"
    )
    sign = "-" if swapped else "+"
    assert line == f"  {sign} kvm: __kvm_set_xcr+0xc (__kvm_set_xcr), first by t"
