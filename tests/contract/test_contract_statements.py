"""Each statement of the kernel contract has something that stands for it, and the table says so."""

from __future__ import annotations

import inspect
from pathlib import Path

from kvmprobe import checkers
from kvmprobe.checkers.session import CHECKERS
from scripts import contract_coverage

INVARIANTS = [row for row in contract_coverage.rows() if row.name.startswith("INV-")]
CHECKED = [row for row in contract_coverage.rows() if row.checkers]


def test_every_statement_has_an_entry_and_every_name_exists():
    assert contract_coverage.problems() == []


def test_the_table_is_fresh():
    # If it is not, scripts/contract_table writes it.
    assert contract_coverage.TABLE.read_text() == contract_coverage.table()


def test_the_invariants_are_numbered_without_a_gap():
    assert [row.name for row in INVARIANTS] == [
        f"INV-{number}" for number in range(1, len(INVARIANTS) + 1)
    ]


def test_a_statement_names_checkers_that_exist():
    names = {checker.check.__name__ for checker in CHECKERS} | {"across"}
    unknown = {row.name: set(row.checkers) - names for row in CHECKED}
    assert {name: checkers for name, checkers in unknown.items() if checkers} == {}


def test_every_checker_checks_a_statement():
    named = {name for row in CHECKED for name in row.checkers}
    assert {checker.check.__name__ for checker in CHECKERS} - named == set()


def test_the_checkers_do_not_ask_the_model():
    # What they find must hold whatever the model believes; behaviours are facts that were probed,
    # and `control` has the bits of registers.
    folder = Path(inspect.getsourcefile(checkers)).parent
    lines = [line for path in folder.glob("*.py") for line in path.read_text().splitlines()]
    asked = {line.split()[1] for line in lines if line.strip().startswith("from kvmprobe.model")}
    facts = {"host", "behaviours", "control"}
    assert asked == {f"kvmprobe.model.{name}" for name in facts}
