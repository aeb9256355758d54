"""CPUID tables against each other."""

from __future__ import annotations

import pytest

from kvmprobe.judge.compare import compare
from kvmprobe.judge.compare_tables import table_differences
from kvmprobe.model.outcome import Done, ExpectedTable
from kvmprobe.results.trace import Reply
from kvmprobe.scenarios.ops.cpuid import GetCpuid2
from kvmprobe.xstate.cpuid import CpuidEntry, CpuidTable, Register
from tests.support.hosts import AMX_HOST

A = CpuidEntry(0x1, 0, 0, 1, 2, 3, 4)
B = CpuidEntry(0xD, 1, 1, 5, 6, 7, 8)


def texts(expected, observed, unspecified=()):
    wanted = ExpectedTable(CpuidTable(expected), frozenset(unspecified))
    return [d.text for d in table_differences(wanted, CpuidTable(observed))]


def test_equal_tables_do_not_differ():
    assert texts((A, B), (A, B)) == []


def test_a_register_is_named_with_its_leaf():
    assert texts((A, B), (A, B._replace(ebx=9))) == [
        "expected 0xd.1:EBX=0x6, observed 0xd.1:EBX=0x9"
    ]


def test_each_register_is_told():
    assert len(texts((A, B), (A._replace(eax=0, edx=0), B._replace(ecx=0)))) == 3


def test_an_unspecified_register_may_have_any_value():
    assert texts((A,), (A._replace(ebx=9),), [(0x1, Register.EBX)]) == []


def test_it_is_unspecified_in_its_leaf_only():
    assert len(texts((A, B), (A, B._replace(ebx=9)), [(0x1, Register.EBX)])) == 1


@pytest.mark.parametrize("other", [A._replace(flags=1), A._replace(subleaf=1), B])
def test_another_entry_ends_the_comparison(other):
    assert len(texts((A, A, A), (other, B, B))) == 1


def test_a_missing_entry_is_told_by_number():
    assert texts((A, B), (A,)) == ["expected 2 entries, observed 1 entries"]


def test_a_reply_with_another_table_is_a_mismatch():
    outcome = Done(table=ExpectedTable(CpuidTable((A,))))
    reply = Reply(0, CpuidTable((A._replace(eax=0, ecx=0),)).to_bytes())
    mismatch = compare(outcome, GetCpuid2(), reply, AMX_HOST)
    assert (mismatch.expected, mismatch.observed) == ("0x1.0:EAX=0x1", "0x1.0:EAX=0x0")
    assert len(mismatch.details) == 1


def test_a_reply_with_that_table_is_none():
    outcome = Done(table=ExpectedTable(CpuidTable((A, B))))
    reply = Reply(0, CpuidTable((A, B)).to_bytes() + b"\xa5" * 40)
    assert compare(outcome, GetCpuid2(), reply, AMX_HOST) is None
