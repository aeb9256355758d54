"""The cells of a matrix of moves, and what shows them."""

from dataclasses import replace

import pytest

from kvmprobe.model.guest_migration import Part
from kvmprobe.moves.causes import Cause, Explained
from kvmprobe.moves.cells import Cell, Fared, Fate, all_is_well
from kvmprobe.moves.guests import Use
from kvmprobe.moves.restoring import Into, Lost
from kvmprobe.moves.resuming import trying
from kvmprobe.reports.move_matrix import matrix_json, matrix_lines
from kvmprobe.reports.move_matrix_page import matrix_page
from kvmprobe.scenarios.model_run import ModelRun
from kvmprobe.vmm.findings import Piece, PieceKind
from tests.support.probed import profile_of
from tests.support.saved_guests import ORDERS, saved_guest

XFD = Piece(PieceKind.MSR, 0x1C4)
GOES_ON = Fared(Fate.GOES_ON)
LOSES_XFD = (Explained(Lost("", XFD), Cause.ORDER),)


def tried(target, into=Into.NEW):
    guest = saved_guest(profile_of("7.3.4"), "qemu-full", Use.TILES)
    return trying(guest, ORDERS["qemu-full"], ModelRun(profile_of(target)), into)


def test_a_call_that_fails_is_the_last_that_is_made():
    found = tried("7.3.4-no-amx")
    assert found.refused == "KVM_SET_CPUID2"
    assert found.scenario.steps[-1].op.call_name == found.refused


def test_without_a_failing_call_the_guest_reads_what_it_has():
    found = tried("7.3.4")
    assert (found.refused, found.scenario.steps[-1].op.part) == ("", Part.MSRS)


def test_a_used_vcpu_has_run_a_guest_before():
    extra = len(tried("7.3.4", Into.USED).scenario.steps) - len(tried("7.3.4").scenario.steps)
    assert extra > 5


CELL = Cell("a", "b", "crosvm", Into.NEW, Use.TILES, seen=GOES_ON, agrees=True)
SKIPPED = Cell("a", "b", "crosvm", Into.NEW, Use.TILES, why_not="no result")
NOT_TRIED = Cell("a", "b", "crosvm", Into.NEW, refused="b: has no KVM")


def page(*cells):
    return "\n".join(matrix_lines(cells, ["crosvm"], 80))


def row_of(text):
    [row] = [line.split() for line in text.splitlines() if line.startswith("a ")]
    return row


def test_a_move_as_predicted_counts():
    assert CELL.is_as_predicted
    shown = "1 moves planned: 1 as predicted, 0 not as predicted, 0 did not run, 0 not tried"
    assert shown in page(CELL)
    assert all_is_well([CELL])


def test_a_wrong_prediction_fails():
    wrong = replace(CELL, findings=LOSES_XFD)
    assert not all_is_well([CELL, wrong])
    text = page(wrong)
    assert row_of(text) == ["a", "?"]
    assert "NOT AS PREDICTED:\n  goes on, where the hosts' facts say lost IA32_XFD" in text


def test_a_kernel_that_does_something_else_fails():
    other = replace(CELL, agrees=False)
    assert not all_is_well([CELL, other])
    assert "NOT AS PREDICTED:\n  a call did what the model does not expect" in page(other)


def test_a_move_without_a_result_fails():
    assert not all_is_well([CELL, SKIPPED])
    assert row_of(page(SKIPPED)) == ["a", "-"]
    assert "DID NOT RUN:\n  no result\n    a to b, crosvm, tiles" in page(SKIPPED)


def test_a_move_that_is_refused_with_a_reason_does_not_fail():
    assert all_is_well([CELL, NOT_TRIED])
    assert row_of(page(NOT_TRIED)) == ["a", "x"]
    assert "not tried:\n  b: has no KVM\n    a to b, crosvm" in page(NOT_TRIED)


@pytest.mark.parametrize("cells", [[], [NOT_TRIED]])
def test_a_matrix_in_which_nothing_ran_fails(cells):
    assert not all_is_well(cells)


def test_what_was_lost_is_listed_under_its_cause():
    lost = replace(CELL, findings=LOSES_XFD, seen=Fared(Fate.LOST, pieces=frozenset({XFD})))
    text = page(lost)
    assert "the VMM's order:\n  no call restores IA32_XFD: the order does so" in text
    assert row_of(text) == ["a", "L"]


def test_a_matrix_that_is_wider_than_the_terminal_is_left_out():
    text = "\n".join(matrix_lines([CELL], ["crosvm"], 20))
    assert "the matrix of 2 hosts is wider than the terminal; --html has it" in text


def test_json_has_each_cell():
    [cell] = matrix_json([CELL], ["crosvm"])["cells"]
    assert (cell["as_predicted"], cell["into"], cell["seen"]["fate"]) == (True, "new", "goes on")


def test_the_page_lists_what_each_move_lost():
    lost = replace(CELL, findings=LOSES_XFD, seen=Fared(Fate.LOST, pieces=frozenset({XFD})))
    text = matrix_page([lost], ["crosvm"])
    assert "no call restores IA32_XFD (the VMM&#39;s order)" in text
    assert 'class="sign lost" title="crosvm: lost">L</b>' in text
    assert " wrong" not in text.partition("</style>")[2]


def test_the_page_marks_what_is_not_as_predicted_and_escapes_names():
    text = matrix_page([replace(CELL, source="<i>", agrees=False)], ["crosvm"])
    assert "&lt;i&gt;" in text
    assert "<i>" not in text
    assert '<td class=" wrong' in text
