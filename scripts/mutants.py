"""Mutants: small changes to a module's source, each of which a test should detect.

Conditions are negated, operators replaced, constants changed by one, errnos replaced, and state
changes removed.  Texts, annotations and type-checking imports are not changed.
"""

from __future__ import annotations

import ast
import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}
_OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
}
_OTHER_ERRNO = "EDOM"
_SHOWN = 100


@dataclass(frozen=True, slots=True)
class Mutant:
    """A changed module.

    :ivar key: module, function and change; independent of line numbers
    :ivar place: dotted name of the enclosing function or class; empty at module level
    :ivar in_function: whether that is a function: its code, or a default of it
    :ivar line: line number in the source
    """

    key: str
    place: str
    in_function: bool
    line: int
    source: str


def mutants(module: str, source: str) -> Iterator[Mutant]:
    """Yield all mutants of a module's source, from top to bottom."""
    tree = ast.parse(source)
    seen: dict[str, int] = {}
    for place, in_function, node in _nodes(tree, "", in_function=False):
        for changed in _changes(node):
            before, after = _text(node), _text(changed)
            key = f"{module}:{place}: {before} -> {after}"
            seen[key] = count = seen.get(key, 0) + 1
            yield Mutant(
                key if count == 1 else f"{key} #{count}",
                place,
                in_function,
                getattr(node, "lineno", 0),
                ast.unparse(ast.fix_missing_locations(_exchanged(tree, node, changed))),
            )


def _nodes(node: ast.AST, place: str, *, in_function: bool) -> Iterator[tuple[str, bool, ast.AST]]:
    """Yield the nodes that may be changed, with the enclosing function or class."""
    for name, value in ast.iter_fields(node):
        if name in {"annotation", "returns", "decorator_list", "bases", "type_params"}:
            continue
        for child in value if isinstance(value, list) else [value]:
            if not isinstance(child, ast.AST) or _is_fixed(child):
                continue
            inner, inside = place, in_function
            if isinstance(child, ast.FunctionDef | ast.ClassDef):
                inner = f"{place}.{child.name}" if place else child.name
                inside = in_function or isinstance(child, ast.FunctionDef)
            yield inner, inside, child
            yield from _nodes(child, inner, in_function=inside)


def _is_fixed(node: ast.AST) -> bool:
    match node:
        case ast.Import() | ast.ImportFrom() | ast.JoinedStr() | ast.Raise() | ast.Assert():
            return True
        case ast.If(test=ast.Name(id="TYPE_CHECKING")):
            return True
        case ast.Expr(value=ast.Constant(value=str())):
            return True
        case ast.Assign(value=ast.Call(func=ast.Name(id="Rule" | "instruction_rule"))):
            return True
        case ast.Call(func=ast.Name(id="ManualSource" | "AmdManualSource")):
            return True
        case _:
            return False


def _changes(node: ast.AST) -> Iterator[ast.AST]:
    for kind, changes in _CHANGES.items():
        if isinstance(node, kind):
            yield from changes(node)


def _comparison(node: Any) -> Iterator[ast.AST]:  # noqa: ANN401
    if len(node.ops) == 1 and type(node.ops[0]) in _COMPARISONS:
        yield _but(node, ops=[_COMPARISONS[type(node.ops[0])]()])


def _boolean(node: Any) -> Iterator[ast.AST]:  # noqa: ANN401
    yield _but(node, op=ast.Or() if isinstance(node.op, ast.And) else ast.And())
    for index in range(len(node.values)):
        left = _without(node.values, index)
        yield left[0] if len(left) == 1 else _but(node, values=left)


def _unary(node: Any) -> Iterator[ast.AST]:  # noqa: ANN401
    if isinstance(node.op, ast.Not | ast.Invert):
        yield node.operand


def _condition(node: Any) -> Iterator[ast.AST]:  # noqa: ANN401
    yield _but(node, test=ast.UnaryOp(ast.Not(), node.test))


def _binary(node: Any) -> Iterator[ast.AST]:  # noqa: ANN401
    if type(node.op) in _OPERATORS:
        yield _but(node, op=_OPERATORS[type(node.op)]())
    if isinstance(node.op, ast.BitAnd | ast.BitOr):
        yield node.left


def _constant(node: Any) -> Iterator[ast.AST]:  # noqa: ANN401
    if isinstance(node.value, bool):
        yield _but(node, value=not node.value)
    elif isinstance(node.value, int):
        yield _but(node, value=node.value + 1)


def _attribute(node: Any) -> Iterator[ast.AST]:  # noqa: ANN401
    if isinstance(node.value, ast.Name) and node.value.id == "errno" and node.attr != _OTHER_ERRNO:
        yield _but(node, attr=_OTHER_ERRNO)


def _call(node: Any) -> Iterator[ast.AST]:  # noqa: ANN401
    if isinstance(node.func, ast.Name) and node.func.id == "replace":
        for index in range(len(node.keywords)):
            yield _but(node, keywords=_without(node.keywords, index))
    is_step = isinstance(node.func, ast.Name) and node.func.id == "Step"
    if is_step and node.args and not isinstance(node.args[0], ast.Name):
        yield _but(node, args=[ast.Name("machine", ast.Load()), *node.args[1:]])


_CHANGES: dict[type[ast.AST], Callable[[Any], Iterator[ast.AST]]] = {
    ast.Compare: _comparison,
    ast.BoolOp: _boolean,
    ast.UnaryOp: _unary,
    ast.If: _condition,
    ast.IfExp: _condition,
    ast.BinOp: _binary,
    ast.Constant: _constant,
    ast.Attribute: _attribute,
    ast.Call: _call,
}


def _without(items: list[Any], index: int) -> list[Any]:
    return items[:index] + items[index + 1 :]


def _but(node: ast.AST, **changes: Any) -> ast.AST:  # noqa: ANN401 - fields of any type
    changed = copy.copy(node)
    for name, value in changes.items():
        setattr(changed, name, value)
    return changed


def _exchanged(tree: ast.AST, old: ast.AST, new: ast.AST) -> ast.AST:
    return copy.deepcopy(tree, {id(old): new})


def _text(node: ast.AST) -> str:
    text = " ".join(ast.unparse(ast.fix_missing_locations(copy.deepcopy(node))).split())
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
