"""The table of orders by variants."""

from kvmprobe.reports.table import table
from kvmprobe.results.record import ScenarioRecord, Target
from kvmprobe.results.verdict import Verdict

TARGET = Target("lab", "7.3.4", "")


def record(row: str, column: str, verdict: Verdict) -> ScenarioRecord:
    return ScenarioRecord(f"{row}.{column}", row, column, TARGET, verdict)


def full_table() -> list[str]:
    return table(
        [
            record("xcrs-msrs", f"perm-{p}.xfd-{x}.bv-{b}{s}", Verdict.PASS)
            for p in ("none", "late")
            for x in ("zero", "armed")
            for b in ("zero", "tiles")
            for s in ("", ".xcr0-1")
        ]
    )


def test_each_cell_is_one_sign_in_the_row_of_its_order():
    lines = table(
        [
            record("a-b", "x", Verdict.PASS),
            record("a-b", "y", Verdict.CRASHED),
            record("b-a", "x", Verdict.DIVERGED),
            record("b-a", "y", Verdict.SKIPPED),
        ]
    )
    assert lines[1:3] == ["a-b  .C", "b-a  D-"]


def test_cell_without_a_record_is_blank():
    lines = table([record("a-b", "x", Verdict.PASS), record("b-a", "y", Verdict.PASS)])
    assert lines[2] == "b-a   ."


def test_few_columns_are_numbered_and_named():
    lines = table([record("a-b", "perm-none.xfd-zero", Verdict.PASS)])
    assert "1 perm-none.xfd-zero" in lines


def test_many_columns_stand_in_blocks_by_their_first_two_axes():
    assert full_table()[2].split() == ["xcrs-msrs", *[".."] * 8]


def test_cells_stand_below_the_names_of_their_block():
    header, cells = full_table()[1:3]
    assert cells[header.index("xfd-armed") :].startswith(".. ..")


def test_header_names_the_axes_of_each_block():
    header = full_table()[:2]
    assert header[1].split() == ["xfd-zero", "xfd-armed", "xfd-zero", "xfd-armed"]


def test_legend_explains_groups_and_cells():
    assert full_table()[-2] == (
        "from left to right in each block: groups bv-zero, bv-tiles; cells xcr0-all, xcr0-1"
    )


def test_legend_has_only_the_signs_that_occur():
    assert full_table()[-1] == ". PASS"
