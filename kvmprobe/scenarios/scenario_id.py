"""What a scenario's id says by itself: ``family.row.column``, the column with dots of its own."""

from __future__ import annotations

_PARTS = 3


def family_of(scenario_id: str) -> str:
    """Return the first part: which table the scenario belongs to."""
    return scenario_id.partition(".")[0]


def row_and_column_of(scenario_id: str) -> tuple[str, str]:
    """Return its place in the table; empty where the id has no such part."""
    _, row, column = (*scenario_id.split(".", _PARTS - 1), "", "")[:_PARTS]
    return row, column
