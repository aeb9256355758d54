"""The table of structure members: set by an op, read by one, judged by the model, by a checker.

Everything is derived: the members from the layouts of ioctls, the ops from their registry, what the
model judges from what it expects of a new vCPU, what a checker judges from the checkers.
"""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from kvmprobe.abi import ioctls
from kvmprobe.checkers.normal_registers import bits_of
from kvmprobe.checkers.registers import GET_OF, LAYOUTS
from kvmprobe.checkers.session import CHECKERS
from kvmprobe.model.machine import Machine
from kvmprobe.model.outcome import Done
from kvmprobe.model.sapphire_rapids import sapphire_rapids
from kvmprobe.scenarios.op_fields import Members, kinds
from kvmprobe.scenarios.ops import registry
from kvmprobe.scenarios.ops.lifecycle import CreateVcpu, CreateVm, OpenKvm

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmprobe.abi.ioctls import IoctlSpec
    from kvmprobe.scenarios.ops import Op

TABLE = Path(__file__).parents[1] / "tests" / "contract" / "fields.md"
# Ioctls whose argument is a list or an image: a row for each, as its entries are alike.
_LISTS = (
    (ioctls.SET_MSRS, ioctls.GET_MSRS),
    (ioctls.SET_ONE_REG, ioctls.GET_ONE_REG),
    (ioctls.SET_XCRS, ioctls.GET_XCRS),
    (ioctls.SET_XSAVE, ioctls.GET_XSAVE),
    (ioctls.SET_XSAVE, ioctls.GET_XSAVE2),
    (ioctls.SET_CPUID2, ioctls.GET_CPUID2),
)
_WHOLE = ("steadiness", "what_is_read_stays")
_HEAD = """# Which op sets each member of KVM's structures, and who judges it

Written by `scripts/field_table`; a contract test checks that it is fresh, and that no member is
without an op that sets it and a checker.  *Model*: what the reference model expects of the member
after a call that it covers; `-` means that only checkers judge it.  *Round trip*: the bits that a
GET must return as the SET accepted them.
"""


class Row(NamedTuple):
    """One member."""

    structure: str
    member: str
    set_by: tuple[str, ...]
    read_by: tuple[str, ...]
    model: str
    checkers: tuple[str, ...]


def _ops(spec: IoctlSpec) -> Iterator[type[Op]]:
    return (op for _, op in sorted(registry().items()) if getattr(op, "spec", None) == spec)


@cache
def _setters(spec: IoctlSpec) -> dict[str, tuple[str, ...]]:
    """Return the ops that set each member of an ioctl's structure to a value of their own.

    An op with fields, none of which is a member, has the content of the whole structure in them.
    """
    found: dict[str, list[str]] = {}
    names = spec.argument.numbers if spec.argument else {}
    for op in _ops(spec):
        given = {n for k in kinds(op).values() if isinstance(k, Members) for n in k.widths}
        given |= kinds(op).keys() & names.keys()
        for name in given or (names if kinds(op) else ()):
            found.setdefault(name, []).append(op.name)
    return {name: tuple(ops) for name, ops in found.items()}


@cache
def _expected(spec: IoctlSpec) -> frozenset[str]:
    """Return what the model expects of the members of a new vCPU's structure."""
    machine = Machine.fresh(sapphire_rapids())
    for op in (OpenKvm(), CreateVm(), CreateVcpu()):
        machine = op.step(machine).machine
    found: set[str] = set()
    for op_class in _ops(spec):
        if kinds(op_class):
            continue
        outcome = op_class().step(machine).outcome
        if isinstance(outcome, Done):
            found |= {name.lower() for name in outcome.fields}
            found |= set(spec.argument.numbers) if outcome.memory and spec.argument else set()
    return frozenset(found)


def _in_model(spec: IoctlSpec, member: str) -> str:
    known = any(member == name or member.startswith(f"{name}_") for name in _expected(spec))
    return "yes" if known else "-"


def _checkers(get: IoctlSpec, member: str) -> tuple[str, ...]:
    asked = [c.check.__name__ for c in CHECKERS if get.name in c.calls]
    bits = bits_of(get.name, member)
    whole = bits == (1 << 64) - 1
    trip = () if not bits else ("round trip" if whole else f"round trip of {bits:#x}",)
    return (*trip, *(name for name in asked if name in _WHOLE))


def rows() -> Iterator[Row]:
    """Yield a row for each member of each structure that one SET writes as a whole."""
    specs = {spec.name: spec for spec in ioctls.ALL}
    for put_name, get_name in GET_OF.items():
        put, get = specs[put_name], specs[get_name]
        readers = tuple(op.name for op in _ops(get))
        for member in LAYOUTS[put_name].numbers:
            yield Row(
                LAYOUTS[put_name].name,
                member,
                _setters(put).get(member, ()),
                readers,
                _in_model(get, member),
                _checkers(get, member),
            )


def lists() -> Iterator[Row]:
    """Yield a row for each ioctl with a list or an image."""
    for put, get in _LISTS:
        structure = put.argument.name if put.argument else ""
        asked = tuple(c.check.__name__ for c in CHECKERS if c.calls & {put.name, get.name})
        setters, readers = (tuple(op.name for op in _ops(spec)) for spec in (put, get))
        yield Row(structure, f"{put.name}, {get.name}", setters, readers, "yes", asked)


def table() -> str:
    """Return the table's text."""
    lines = [_HEAD]
    structure = ""
    for row in rows():
        if row.structure != structure:
            structure = row.structure
            lines += ["", f"## {structure}", ""]
            lines += ["| member | set by | read by | model | checkers |", "|---|---|---|---|---|"]
        lines.append(_line(row))
    lines += ["", "## Lists and images", ""]
    lines += ["| ioctls | set by | read by | model | checkers |", "|---|---|---|---|---|"]
    lines += [_line(row) for row in lists()]
    return "\n".join(lines) + "\n"


def _line(row: Row) -> str:
    cells = (row.member, *map(", ".join, (row.set_by, row.read_by)), row.model)
    return f"| {' | '.join((*cells, ', '.join(row.checkers)))} |"


if __name__ == "__main__":
    TABLE.write_text(table())
    sys.exit()
