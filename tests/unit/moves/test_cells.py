"""The cells of a matrix of moves, and the page that shows them."""

from dataclasses import replace

import pytest

from kvmprobe.model.guest_migration import Part
from kvmprobe.moves.cells import Cell, Fared, Fate, MovedGuest, predicted
from kvmprobe.moves.guests import Use
from kvmprobe.moves.resuming import trying
from kvmprobe.moves.saving import saving
from kvmprobe.reports.move_matrix import matrix_json, matrix_lines
from kvmprobe.reports.move_matrix_page import matrix_page
from kvmprobe.scenarios.model_run import ModelRun
from kvmprobe.vmm.findings import Piece, PieceKind
from tests.support.probed import profile_of
from tests.support.saved_guests import ORDERS, saved_guest

XFD = Piece(PieceKind.MSR, 0x1C4)
GOES_ON = Fared(Fate.GOES_ON)


def moved(name, order, use):
    host = profile_of(name)
    scenario = saving(host, ORDERS[order], use)
    vcpu = ModelRun(host).walked(scenario)[-1].step.machine.vcpu("vcpu0")
    return MovedGuest(name, host, ORDERS[order], use, saved_guest(host, order, use), vcpu)


@pytest.mark.parametrize(
    ("order", "use", "target", "fared"),
    [
        ("qemu-full", Use.TILES, "6.12.95", GOES_ON),
        ("firecracker", Use.ARMED, "7.3.4", Fared(Fate.LOST, pieces=frozenset({XFD}))),
        ("crosvm", Use.TILES, "7.3.4-no-amx", Fared(Fate.REFUSED, "KVM_SET_CPUID2")),
        # KVM_SET_SREGS2 of the order is made as KVM_SET_SREGS.
        ("qemu-cet", Use.CET, "6.12.95", Fared(Fate.REFUSED, "KVM_SET_SREGS")),
    ],
)
def test_a_fate_follows_from_the_two_hosts(order, use, target, fared):
    guest = moved("7.3.4", order, use)
    assert predicted(guest, profile_of(target)) == fared


def test_a_call_that_fails_is_the_last_that_is_made():
    guest = moved("7.3.4", "qemu-full", Use.TILES)
    tried = trying(guest.guest, guest.order, profile_of("7.3.4-no-amx"))
    assert tried.refused == "KVM_SET_CPUID2"
    assert tried.scenario.steps[-1].op.call_name == tried.refused


def test_without_a_failing_call_the_guest_reads_what_it_has():
    guest = moved("7.3.4", "qemu-full", Use.TILES)
    tried = trying(guest.guest, guest.order, profile_of("7.3.4"))
    assert (tried.refused, tried.scenario.steps[-1].op.part) == ("", Part.MSRS)


CELL = Cell("a", "b", "crosvm", Use.TILES, "", GOES_ON, GOES_ON, agrees=True)


def page(*cells):
    return "\n".join(matrix_lines(cells, ["crosvm"]))


def test_a_move_as_predicted_counts():
    assert CELL.is_as_predicted
    assert "1 moves planned: 1 as predicted, 0 did not run, 0 not as predicted" in page(CELL)


def test_a_wrong_prediction_is_shown():
    wrong = replace(CELL, predicted=Fared(Fate.LOST, pieces=frozenset({XFD})))
    assert not wrong.is_as_predicted
    text = page(wrong)
    [row] = [line.split() for line in text.splitlines() if line.startswith("a ")]
    assert row == ["a", "?"]
    assert "NOT AS PREDICTED: goes on, where the hosts' facts say lost IA32_XFD" in text


def test_a_kernel_that_does_something_else_is_shown():
    other = replace(CELL, agrees=False)
    assert not other.is_as_predicted
    assert "NOT AS PREDICTED: a call did what the model does not expect" in page(other)


def test_a_move_that_did_not_run_is_no_success():
    skipped = Cell("a", "b", "crosvm", Use.TILES, "the host had died")
    assert not skipped.is_as_predicted
    assert "did not run: the host had died" in page(skipped)


def test_json_has_each_cell():
    [cell] = matrix_json([CELL], ["crosvm"])["cells"]
    assert (cell["as_predicted"], cell["seen"]["fate"]) == (True, "goes on")


def test_the_page_lists_what_each_move_lost():
    lost = Fared(Fate.LOST, pieces=frozenset({XFD}))
    text = matrix_page([replace(CELL, predicted=lost, seen=lost)], ["crosvm"])
    assert "<summary>L</summary><ul><li>crosvm, tiles: lost IA32_XFD</li>" in text
    assert "odd" not in text.partition("</style>")[2]


def test_the_page_marks_what_is_not_as_predicted_and_escapes_names():
    cell = replace(CELL, source="<b>", agrees=False)
    text = matrix_page([cell], ["crosvm"])
    assert "&lt;b&gt;" in text
    assert "<b>" not in text
    assert '<td class="odd">' in text
