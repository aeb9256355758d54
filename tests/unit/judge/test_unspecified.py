from collections import Counter

from kvmprobe.judge.unspecified import open_bytes, open_in
from kvmprobe.model.freedom import Freedom
from kvmprobe.model.outcome import (
    Done,
    ExpectedBytes,
    ExpectedImage,
    ExpectedTable,
    Failed,
    OneOf,
    Unspecified,
)
from kvmprobe.scenarios.ops.lifecycle import CreateVcpu, CreateVm, OpenKvm
from kvmprobe.scenarios.ops.run import RunImmediateExit
from kvmprobe.scenarios.ops.xsave import GetXsave2
from kvmprobe.scenarios.scenario import Scenario, ScenarioStep
from kvmprobe.xstate.cpuid import CpuidEntry, CpuidTable, Register
from tests.support.hosts import AMX_HOST

WHY = str(Freedom.X87_POINTERS)
TWO_BYTES = Unspecified(8, b"\xff\x00\x01", Freedom.X87_POINTERS)


def scenario(*ops):
    return Scenario("family.row.column", "row", "column", tuple(ScenarioStep(op) for op in ops))


def test_an_exact_outcome_has_no_unspecified_bytes():
    assert open_in(Done(fields={"a": 1}, image=ExpectedImage(bytes(16)))) == Counter()


def test_a_failure_has_no_unspecified_bytes():
    assert open_in(Failed(22)) == Counter()


def test_bytes_with_unspecified_bits_are_counted_by_reason():
    assert open_in(Done(image=ExpectedImage(bytes(16), (TWO_BYTES,)))) == {WHY: 2}


def test_unspecified_bytes_of_memory_are_counted():
    assert open_in(Done(memory=ExpectedBytes(0, bytes(16), (TWO_BYTES,)))) == {WHY: 2}


def test_unspecified_fields_are_counted():
    assert open_in(Done(fields={"a": 0}, open_fields={"a": 0x1_00_FF})) == {"the field a": 2}


def test_an_unspecified_register_counts_four_bytes_for_each_entry_of_its_leaf():
    entries = tuple(CpuidEntry(leaf, 0, 0, 0, 0, 0, 0) for leaf in (1, 4, 4))
    table = ExpectedTable(CpuidTable(entries), frozenset({(4, Register.EAX)}), Freedom.X87_POINTERS)
    assert open_in(Done(table=table)) == {WHY: 8}


def test_bytes_in_which_choices_differ_are_counted():
    choices = tuple(Done(image=ExpectedImage(image)) for image in (b"abc", b"axy", b"aby"))
    assert open_in(OneOf(choices, Freedom.X87_POINTERS)) == {WHY: 2}


def test_unspecified_bytes_of_every_choice_are_counted_once():
    choices = tuple(Done(value, image=ExpectedImage(bytes(16), (TWO_BYTES,))) for value in (0, 1))
    assert open_in(OneOf(choices, Freedom.PCIDE_AT_ENTRY)) == {
        WHY: 2,
        str(Freedom.PCIDE_AT_ENTRY): 1,
    }


def test_bytes_that_are_open_in_a_choice_do_not_count_as_differing():
    contents = (bytes(8) + b"\1\2\3\4").ljust(16, b"\0"), bytes(16)
    choices = tuple(Done(memory=ExpectedBytes(0, content, (TWO_BYTES,))) for content in contents)
    # Bytes 8 and 10 are open; 9 and 11 differ.
    assert open_in(OneOf(choices, Freedom.PCIDE_AT_ENTRY)) == {
        WHY: 2,
        str(Freedom.PCIDE_AT_ENTRY): 2,
    }


def test_a_scenario_without_kvm_run_has_no_unspecified_bytes():
    assert open_bytes(scenario(OpenKvm(), CreateVm(), CreateVcpu(), GetXsave2()), AMX_HOST) == {}


def test_kvm_run_leaves_the_header_unspecified():
    # FP and SSE, which a guest without CPUID has: one byte of XSTATE_BV.
    begin = (OpenKvm(), CreateVm(), CreateVcpu())
    found = open_bytes(scenario(*begin, RunImmediateExit(), GetXsave2()), AMX_HOST)
    assert sum(found.values()) == 1
