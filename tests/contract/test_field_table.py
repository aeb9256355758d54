"""Every member of the structures in scope is set, read and judged, and the table says by whom."""

from __future__ import annotations

from scripts import field_coverage

ROWS = [*field_coverage.rows(), *field_coverage.lists()]


def names(rows):
    return [f"{row.structure}.{row.member}" for row in rows]


def test_the_table_is_fresh():
    # If it is not, scripts/field_table writes it.
    assert field_coverage.TABLE.read_text() == field_coverage.table()


def test_an_op_sets_every_member():
    assert names(row for row in ROWS if not row.set_by) == []


def test_an_op_reads_every_member():
    assert names(row for row in ROWS if not row.read_by) == []


def test_a_checker_judges_every_member():
    assert names(row for row in ROWS if not row.checkers) == []


def test_the_structures_are_those_of_issue_11():
    assert {row.structure for row in ROWS} >= {
        "struct kvm_sregs",
        "struct kvm_sregs2",
        "struct kvm_regs",
        "struct kvm_vcpu_events",
        "struct kvm_debugregs",
        "struct kvm_mp_state",
        "struct kvm_fpu",
    }
