"""What names a module-level value, by the source: statements that compute others, and functions.

Attributes of objects are not followed, but every method of a class counts as a user of the class.
"""

from __future__ import annotations

import ast
import sys
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING

from called_functions import PACKAGE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from called_functions import Function

Name = tuple[str, str]
"""A module and a name at its top level."""


@dataclass(frozen=True, eq=False)
class Statement:
    """A statement at the top level of a module.

    :ivar binds: the names that it gives values
    :ivar uses: the names whose values it needs when the module is imported
    :ivar calls: those of them that it calls
    """

    module: str
    node: ast.stmt
    binds: frozenset[str]
    uses: frozenset[Name]
    calls: frozenset[Name]


@dataclass
class Users:
    """What a changed value changes.

    :ivar again: statements to execute again, in order; a class or function needs a new import
    :ivar functions: those that name a changed value
    """

    again: list[Statement] = field(default_factory=list)
    functions: set[Function] = field(default_factory=set)

    @property
    def are_values(self) -> bool:
        """Whether all that changes are values of names."""
        kinds = ast.Assign | ast.AnnAssign
        return all(isinstance(statement.node, kinds) for statement in self.again)


class Names:
    """The names at the top level of the package's modules that were imported."""

    def __init__(self) -> None:
        self._statements: list[Statement] = []
        self._functions: list[tuple[Function, frozenset[Name]]] = []
        self._imported: dict[str, dict[str, Name]] = {}
        trees = dict(_trees())
        for module, tree in trees.items():
            self._imported[module] = dict(_imported(tree))
        for module, tree in trees.items():
            for node in tree.body:
                self._add(module, node)

    def _add(self, module: str, node: ast.stmt) -> None:
        binds = frozenset(_bound(node))
        uses = self._uses(module, _at_import(node))
        called = (part.func for part in _at_import(node) if isinstance(part, ast.Call))
        calls = self._uses(module, called)
        self._statements.append(Statement(module, node, binds, uses, calls))
        for name, function in _functions(node, ""):
            used = self._uses(module, ast.walk(function))
            own = {(module, node.name)} if isinstance(node, ast.ClassDef) else set()
            self._functions.append(((module, name), used | own))

    def _uses(self, module: str, parts: Iterator[ast.AST]) -> frozenset[Name]:
        imported = self._imported[module]
        found: set[Name] = set()
        for part in parts:
            if isinstance(part, ast.Name):
                found.add(imported.get(part.id, (module, part.id)))
            elif isinstance(part, ast.Attribute) and isinstance(part.value, ast.Name):
                package, name = imported.get(part.value.id, ("", ""))
                found.add((f"{package}.{name}", part.attr))
        return frozenset(found)

    def users(self, module: str, line: int) -> Users:
        """Return what a change of the statement at a line of a module changes."""
        found, changed = Users(), set[Name]()
        waiting = [s for s in self._statements if s.module == module and _holds(s.node, line)]
        after: dict[Statement, set[Statement]] = {statement: set() for statement in waiting}
        while waiting:
            statement = waiting.pop()
            names = {(statement.module, name) for name in statement.binds}
            changed |= names
            for other in self._statements:
                if not names.isdisjoint(other.uses) and other is not statement:
                    if other not in after:
                        waiting.append(other)
                    after.setdefault(other, set()).add(statement)
        found.again = list(TopologicalSorter(after).static_order())
        found.functions = {name for name, used in self._functions if not changed.isdisjoint(used)}
        return found

    def runs_at_import(self, module: str, place: str) -> bool:
        """Return True if a function may be called when the package is imported."""
        first, _, method = place.partition(".")
        if method:
            return method.startswith("__")
        return any((module, first) in statement.calls for statement in self._statements)

    def same_in(self, tree: ast.Module, statement: Statement) -> ast.stmt:
        """Return the statement in the same place of another source of its module."""
        nodes = [one.node for one in self._statements if one.module == statement.module]
        return tree.body[nodes.index(statement.node)]

    def importers(self, name: Name) -> Iterator[Name]:
        """Yield the names that other modules have imported a value by."""
        for module, imported in self._imported.items():
            for own, source in imported.items():
                if source == name:
                    yield module, own


def _trees() -> Iterator[tuple[str, ast.Module]]:
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if name.startswith(f"{PACKAGE}.") and file and file.endswith(".py"):
            yield name, ast.parse(Path(file).read_text())


def _imported(tree: ast.Module) -> Iterator[tuple[str, Name]]:
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                yield alias.asname or alias.name, (node.module, alias.name)


def _functions(node: ast.AST, place: str) -> Iterator[tuple[str, ast.FunctionDef]]:
    """Yield the functions of a statement by dotted name; not those within a function."""
    if isinstance(node, ast.FunctionDef):
        yield f"{place}{node.name}", node
    elif isinstance(node, ast.ClassDef):
        for child in node.body:
            yield from _functions(child, f"{place}{node.name}.")


def _at_import(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the parts of a statement that are evaluated when its module is imported."""
    yield node
    for name, value in ast.iter_fields(node):
        late = isinstance(node, ast.FunctionDef | ast.Lambda) and name == "body"
        if late or name in {"annotation", "returns"}:
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from _at_import(child)


def _bound(node: ast.stmt) -> Iterator[str]:
    if isinstance(node, ast.ClassDef | ast.FunctionDef):
        yield node.name
        return
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    for target in targets:
        if target is not None:
            yield from (part.id for part in ast.walk(target) if isinstance(part, ast.Name))


def _holds(node: ast.stmt, line: int) -> bool:
    return node.lineno <= line <= (node.end_lineno or node.lineno)
