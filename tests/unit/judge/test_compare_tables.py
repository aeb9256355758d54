"""CPUID tables against each other."""

from __future__ import annotations

import pytest

from kvmprobe.judge.compare import compare
from kvmprobe.judge.compare_tables import table_differs
from kvmprobe.model.outcome import Done, ExpectedTable
from kvmprobe.results.difference import EntryDiffers, RegisterDiffers, TableDiffers
from kvmprobe.results.trace import Reply
from kvmprobe.scenarios.ops.cpuid import GetCpuid2
from kvmprobe.xstate.cpuid import CpuidEntry, CpuidTable, Register
from tests.support.hosts import AMX_HOST

A = CpuidEntry(0x1, 0, 0, 1, 2, 3, 4)
B = CpuidEntry(0xD, 1, 1, 5, 6, 7, 8)


def differences(expected, observed, unspecified=()):
    wanted = ExpectedTable(CpuidTable(expected), frozenset(unspecified))
    return table_differs(wanted, CpuidTable(observed))


def test_equal_tables_do_not_differ():
    assert differences((A, B), (A, B)) is None


def test_a_register_is_named_with_its_leaf():
    (part,) = differences((A, B), (A, B._replace(ebx=9))).parts
    assert part == RegisterDiffers(0xD, 1, Register.EBX, 6, 9)


def test_each_register_is_compared():
    found = differences((A, B), (A._replace(eax=0, edx=0), B._replace(ecx=0)))
    assert len(found.parts) == 3


def test_an_unspecified_register_may_have_any_value():
    assert differences((A,), (A._replace(ebx=9),), [(0x1, Register.EBX)]) is None


def test_a_register_is_unspecified_only_in_its_leaf():
    found = differences((A, B), (A, B._replace(ebx=9)), [(0x1, Register.EBX)])
    assert len(found.parts) == 1


@pytest.mark.parametrize("other", [A._replace(flags=1), A._replace(subleaf=1), B])
def test_another_entry_ends_the_comparison(other):
    assert differences((A, A, A), (other, B, B)).parts == (EntryDiffers(A, other),)


def test_a_missing_entry_is_reported_as_two_counts():
    assert differences((A, B), (A,)) == TableDiffers((), (2, 1))


def test_a_reply_with_another_table_is_a_mismatch():
    outcome = Done(table=ExpectedTable(CpuidTable((A,))))
    reply = Reply(0, CpuidTable((A._replace(eax=0, ecx=0),)).to_bytes())
    mismatch = compare(outcome, GetCpuid2(), reply, AMX_HOST)
    assert [part.register for part in mismatch.parts] == [Register.EAX, Register.ECX]


def test_a_reply_with_the_expected_table_is_accepted():
    outcome = Done(table=ExpectedTable(CpuidTable((A, B))))
    reply = Reply(0, CpuidTable((A, B)).to_bytes() + b"\xa5" * 40)
    assert compare(outcome, GetCpuid2(), reply, AMX_HOST) is None
