"""The table of contract statements: the rules, checkers, scenarios and tests that stand for each.

Statements are in tests/contract/contract_statements.toml and, the invariants, in
kvmprobe/checkers/invariants.py.  Which scenarios reach a rule is found by running the
model over the catalogue.
"""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections import defaultdict
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kvmprobe.checkers.invariants import INVARIANTS, Check
from kvmprobe.model.machine import Machine
from kvmprobe.model.outcome import HostDies
from kvmprobe.model.sapphire_rapids import sapphire_rapids
from kvmprobe.scenarios import catalog

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from types import FrameType

ROOT = Path(__file__).parents[1]
MODEL = ROOT / "kvmprobe" / "model"
STATEMENTS = ROOT / "tests" / "contract" / "contract_statements.toml"
TABLE = ROOT / "tests" / "contract" / "coverage.md"
# The matrix has thousands of scenarios that take the same rules.
_SAMPLED = {"restore": 40, "kick": 8}
_HEADING = """\
# What stands for each statement of the kernel contract

Written by `scripts/contract_table`; a contract test checks that it is fresh, and that nothing is
without an entry.  Rules are functions of `kvmprobe/model`, checkers of `kvmprobe/checkers`;
families are those of the scenarios that reach the rules, or whose ids are named with the statement.
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

    @property
    def tests(self) -> list[str]:
        """Test files that use a rule or a checker by its name."""
        wanted = [name.partition(".")[2] or name for name in (*self.rules, *self.checkers)]
        if not wanted:
            return []
        pattern = re.compile(rf"\b({'|'.join(map(re.escape, wanted))})\(")
        return [path for path, text in tests() if pattern.search(text)]


@cache
def functions() -> Mapping[str, str]:
    """Return the source of each function of the model, by ``module.function``."""
    found = {}
    for path in sorted(MODEL.glob("*.py")):
        text = path.read_text()
        for node in ast.parse(text).body:
            if isinstance(node, ast.FunctionDef):
                found[f"{path.stem}.{node.name}"] = ast.get_source_segment(text, node) or ""
    return found


@cache
def tests() -> list[tuple[str, str]]:
    """Return path and text of each test file."""
    paths = sorted((ROOT / "tests").glob("*/**/test_*.py"))
    return [(str(path.relative_to(ROOT / "tests")), path.read_text()) for path in paths]


@cache
def scenario_ids() -> tuple[str, ...]:
    """Return every scenario's id."""
    return tuple(scenario.id for scenario in catalog.scenarios(sapphire_rapids()))


@cache
def reaching() -> Mapping[str, set[str]]:
    """Return the families whose scenarios call each function of the model."""
    _forget_results()
    host = sapphire_rapids()
    found: defaultdict[str, set[str]] = defaultdict(set)
    called: set[str] = set()

    def note(frame: FrameType, event: str, _argument: object) -> None:
        if event == "call" and "/kvmprobe/model/" in frame.f_code.co_filename:
            called.add(f"{Path(frame.f_code.co_filename).stem}.{frame.f_code.co_name}")

    seen: defaultdict[str, int] = defaultdict(int)
    for scenario in catalog.scenarios(host):
        family = scenario.family
        seen[family] += 1
        if seen[family] % _SAMPLED.get(family, 1):
            continue
        called.clear()
        machine = Machine.fresh(host)
        sys.setprofile(note)
        try:
            for _, op in scenario.ops():
                step = op.step(machine)
                if isinstance(step.outcome, HostDies):
                    break
                machine = step.machine
        finally:
            sys.setprofile(None)
        for name in called:
            found[name].add(family)
    return found


def _forget_results() -> None:
    """Have functions of the model that keep their results be called again."""
    for name, module in list(sys.modules.items()):
        if name.startswith("kvmprobe."):
            for value in vars(module).values():
                if hasattr(value, "cache_clear"):
                    value.cache_clear()


def rows() -> Iterator[Row]:
    """Yield every statement with what stands for it."""
    document: dict[str, dict[str, dict[str, Any]]] = tomllib.loads(STATEMENTS.read_text())
    for section, statements in document.items():
        for name, statement in statements.items():
            fields = dict(statement)
            cited = [r for cite in fields.pop("cites", []) for r in citing(cite)]
            row = Row(section, name, **fields)
            row.rules += [rule for rule in cited if rule not in row.rules]
            yield row
    for invariant in INVARIANTS:
        left_out = invariant.left_out
        if invariant.check is Check.GATE:
            left_out = left_out or "kept by the runner: kvmprobe/execution"
        yield Row(
            "§13 invariants",
            invariant.name,
            invariant.statement,
            rules=sorted({*citing(invariant.name), *invariant.rules}),
            checkers=list(invariant.checkers),
            left_out=left_out,
        )


@cache
def citing(token: str) -> list[str]:
    """Return the functions of the model that cite an invariant, alone or within a range."""
    number = int(token.removeprefix("INV-"))
    return [name for name, text in functions().items() if number in _cited(text)]


def _cited(text: str) -> set[int]:
    numbers = {int(n) for n in re.findall(r"INV-(\d+)", text)}
    for first, last in re.findall(r"INV-(\d+) to INV-(\d+)", text):
        numbers.update(range(int(first), int(last) + 1))
    return numbers


def problems() -> list[str]:
    """Return what is wrong with the statements: names of nothing, and statements without entry."""
    found = []
    for row in rows():
        where = f"{row.section} {row.name}"
        found += [f"{where}: no rule {rule}" for rule in row.rules if rule not in functions()]
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
            lines += ["| id | statement | rules | checkers | families | tests |"]
            lines += ["|---|---|---|---|---|---|"]
        parts = [row.name, row.text, _names(row.rules), _names(row.checkers)]
        families = ", ".join(row.families)
        if row.left_out:
            families = f"{families}; not: {row.left_out}" if families else f"not: {row.left_out}"
        lines.append(f"| {' | '.join([*parts, families, ', '.join(row.tests)])} |")
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
