"""The parts of a scenario's id: ``family.row.column``, where the column may contain dots."""

from __future__ import annotations

_PARTS = 3
# Begins the ids of upstream's selftests, which are recorded like scenarios.
SELFTESTS = "kselftest-"


def family_of(scenario_id: str) -> str:
    """Return the first part, which names the scenario's table."""
    return scenario_id.partition(".")[0]


def row_and_column_of(scenario_id: str) -> tuple[str, str]:
    """Return row and column; empty if the id has no such part."""
    _, row, column = (*scenario_id.split(".", _PARTS - 1), "", "")[:_PARTS]
    return row, column
