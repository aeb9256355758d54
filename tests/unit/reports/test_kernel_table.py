"""The table of a matrix: rows fold, changes are marked, and the count adds up."""

from dataclasses import replace

from kvmprobe.reports.kernel_table import KernelColumn, rows_of, table_json, table_lines
from kvmprobe.results.difference import KernelWarns, ResultDiffers
from kvmprobe.results.record import ScenarioRecord
from kvmprobe.results.verdict import Verdict
from tests.support.runs import B1_DIVERGENCE, HOSTILE, NEW, OLD, diverged, passed, run_of_records

OTHER = replace(B1_DIVERGENCE, difference=ResultDiffers(0, -22))
FINE = ("restore.a.bv-zero", "restore.b.bv-zero")
BROKEN = "restore.a.bv-tiles"
PLANNED = (FINE[0], BROKEN, FINE[1])
BEFORE = run_of_records(
    *(passed(name, OLD) for name in FINE), diverged(BROKEN, ("B1",), B1_DIVERGENCE, target=OLD)
)
AFTER = run_of_records(*(passed(name, NEW) for name in PLANNED))
REFUSED = "kernel 9.9.9 is not in the package lists"
COLUMNS = (
    KernelColumn("6.12.43", BEFORE),
    KernelColumn("9.9.9", None, REFUSED),
    KernelColumn("6.12.95", AFTER),
)


def text(columns=COLUMNS, planned=PLANNED):
    return "\n".join(table_lines(columns, planned))


def test_scenarios_that_came_out_alike_on_every_kernel_are_one_row():
    assert [row.scenarios for row in rows_of(COLUMNS, PLANNED)] == [FINE, (BROKEN,)]


def test_a_row_is_named_by_a_glob_for_its_scenarios():
    assert [row.name for row in rows_of(COLUMNS, PLANNED)] == ["restore.*.bv-zero", BROKEN]


def test_a_glob_covers_ids_with_more_parts():
    (row,) = rows_of(COLUMNS[1:2], ("restore.a.bv-zero", "restore.a.bv-zero.blind"))
    assert row.name == "restore.a.bv-zero*"


def test_families_are_apart():
    assert len(rows_of(COLUMNS[1:2], ("restore.a", "kick.a"))) == 2


def test_a_change_is_marked_across_a_kernel_without_results():
    assert [row.changed for row in rows_of(COLUMNS, PLANNED)] == [
        (False, False, False),
        (False, False, True),
    ]


def test_another_failure_without_a_name_is_a_change():
    first, second = (
        run_of_records(diverged(BROKEN, (), found, target=target))
        for found, target in ((B1_DIVERGENCE, OLD), (OTHER, NEW))
    )
    (row,) = rows_of((KernelColumn("a", first), KernelColumn("b", second)), (BROKEN,))
    assert row.changed == (False, True)


def test_a_refused_kernel_says_why_and_has_no_cell():
    assert f"9.9.9: refused: {REFUSED}" in text()
    assert rows_of(COLUMNS, PLANNED)[0].cells == (".", "", ".")


def test_the_defect_of_a_cell_is_named_below():
    assert "B1: known, CVE-2026-23005 (B1), fixed in " in text()


def test_a_skip_has_the_code_of_its_reason():
    skipped = ScenarioRecord("xss.a", "", "", NEW, Verdict.SKIPPED, reason="no_cet_kvm: no SHSTK")
    column = KernelColumn("6.12.95", run_of_records(skipped))
    assert column.cell("xss.a") == "- no_cet_kvm"
    assert "no_cet_kvm: no SHSTK" in text((column,), ("xss.a",))


def test_planned_is_run_and_skipped_and_refused_and_without_a_result():
    lacking = KernelColumn("6.12.95", run_of_records(passed(FINE[0], NEW)))
    shown = text((*COLUMNS[:2], lacking))
    # 3 kernels by 3 scenarios: 3 + 1 ran, 3 were refused with 9.9.9, 2 are lacking.
    assert "planned 9 (3 kernels, 3 scenarios): 4 run, 0 skipped, 3 refused" in shown
    assert shown.endswith("2 without a result")


def test_the_document_has_each_scenario_by_itself():
    document = table_json(COLUMNS, PLANNED)
    (broken,) = (row for row in document["scenarios"] if row["id"] == BROKEN)
    assert [cell and cell["known"] for cell in broken["cells"]] == [["B1"], None, []]
    assert (broken["changed"], len(document["scenarios"])) == ([False, False, True], 3)


def test_text_of_a_kernel_cannot_move_the_terminals_cursor():
    # The signature of a divergence has the statement of its rule; that of a warning the message.
    warned = replace(B1_DIVERGENCE, difference=KernelWarns(HOSTILE[0]))
    column = KernelColumn("6.12.43", run_of_records(diverged(BROKEN, (), warned, target=OLD)))
    assert "\x1b" not in text((column,), (BROKEN,))
