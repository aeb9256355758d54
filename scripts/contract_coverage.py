"""The table of contract statements: the rules, checkers and scenarios that stand for each.

Statements are in tests/contract/contract_statements.toml.  Which scenarios reach a rule is found by
running the model over the catalogue.
"""

from __future__ import annotations

import pkgutil
import re
import sys
import tomllib
from collections import defaultdict
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kvmprobe import model
from kvmprobe.model.rule import Rule
from kvmprobe.model.sapphire_rapids import sapphire_rapids
from kvmprobe.scenarios import catalog
from kvmprobe.scenarios.model_run import ModelRun

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

ROOT = Path(__file__).parents[1]
MODEL = ROOT / "kvmprobe" / "model"
STATEMENTS = ROOT / "tests" / "contract" / "contract_statements.toml"
TABLE = ROOT / "tests" / "contract" / "coverage.md"
# The matrix has thousands of scenarios that take the same rules.
_SAMPLED = {"restore": 40, "kick": 8}
_HEADING = """\
# What stands for each statement of the kernel contract

Written by `scripts/contract_table`; a contract test checks that it is fresh, and that nothing is
without an entry.  Rules are constants of `kvmprobe/model`, checkers functions of
`kvmprobe/checkers`; families are those of the scenarios that reach the rules, or whose ids are
named with the statement.
"""


@dataclass(slots=True)
class Row:
    """One statement and what stands for it."""

    section: str
    name: str
    text: str
    rules: list[str] = field(default_factory=list)
    checkers: list[str] = field(default_factory=list)
    scenarios: list[str] = field(default_factory=list)
    left_out: str = ""

    @property
    def families(self) -> list[str]:
        """Families of the scenarios that reach a rule, and of those that are named."""
        reached = reaching()
        named = {glob.partition(".")[0] for glob in self.scenarios}
        return sorted(named.union(*(reached.get(rule, set()) for rule in self.rules)))


@cache
def rules() -> Mapping[str, Rule]:
    """Return each rule of the model, by ``module.CONSTANT``."""
    names = [info.name for info in pkgutil.iter_modules(model.__path__)]
    return {
        f"{name}.{constant}": value
        for name in names
        for constant, value in vars(import_module(f"kvmprobe.model.{name}")).items()
        if isinstance(value, Rule) and _is_defined_in(name, constant)
    }


def _is_defined_in(module: str, constant: str) -> bool:
    text = (MODEL / f"{module}.py").read_text()
    return re.search(rf"^{constant} = ", text, re.MULTILINE) is not None


@cache
def scenario_ids() -> tuple[str, ...]:
    """Return every scenario's id."""
    return tuple(scenario.id for scenario in catalog.scenarios(sapphire_rapids()))


@cache
def reaching() -> Mapping[str, set[str]]:
    """Return the families whose scenarios reach each rule."""
    names = {rule: name for name, rule in rules().items()}
    host = sapphire_rapids()
    model_run = ModelRun(host)
    found: defaultdict[str, set[str]] = defaultdict(set)
    seen: defaultdict[str, int] = defaultdict(int)
    for scenario in catalog.scenarios(host):
        family = scenario.family
        seen[family] += 1
        if seen[family] % _SAMPLED.get(family, 1):
            continue
        for known in model_run.walk(scenario):
            found[names[known.step.rule]].add(family)
        model_run.forget_if_large()
    return found


def rows() -> Iterator[Row]:
    """Yield every statement with what stands for it."""
    document: dict[str, dict[str, dict[str, Any]]] = tomllib.loads(STATEMENTS.read_text())
    for section, statements in document.items():
        for name, statement in statements.items():
            row = Row(section, name, **statement)
            row.rules += [rule for rule in citing(name) if rule not in row.rules]
            yield row


def citing(invariant: str) -> list[str]:
    """Return the rules that cite an invariant."""
    return sorted(name for name, rule in rules().items() if invariant in rule.invariants)


def problems() -> list[str]:
    """Return what is wrong with the statements: names of nothing, and statements without entry."""
    found = []
    for row in rows():
        where = f"{row.section} {row.name}"
        found += [f"{where}: no rule {rule}" for rule in row.rules if rule not in rules()]
        found += [
            f"{where}: no scenario {glob}"
            for glob in row.scenarios
            if not any(fnmatchcase(name, glob) for name in scenario_ids())
        ]
        if not (row.rules or row.checkers or row.scenarios or row.left_out):
            found.append(f"{where}: nothing stands for it")
    return found


def table() -> str:
    """Return the document."""
    lines = [_HEADING]
    section = ""
    for row in rows():
        if row.section != section:
            section = row.section
            lines += [f"## {section}", ""]
            lines += ["| id | statement | rules | checkers | families |"]
            lines += ["|---|---|---|---|---|"]
        parts = [row.name, row.text, _names(row.rules), _names(row.checkers)]
        families = ", ".join(row.families)
        if row.left_out:
            families = f"{families}; not: {row.left_out}" if families else f"not: {row.left_out}"
        lines.append(f"| {' | '.join([*parts, families])} |")
    return "\n".join(lines) + "\n"


def _names(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def main() -> None:
    """Write the document, and tell what is wrong with the statements."""
    for problem in problems():
        print(problem, file=sys.stderr)
    TABLE.parent.mkdir(exist_ok=True)
    TABLE.write_text(table())


if __name__ == "__main__":
    main()
