"""Which scenarios are wanted: ``--select`` and ``--exclude``."""

from __future__ import annotations

from fnmatch import fnmatchcase
from functools import cache
from typing import TYPE_CHECKING

from kvmprobe.cli.traits import catalogue, defect_names, known_tags
from kvmprobe.errors import UsageError
from kvmprobe.scenarios.ops import registry
from kvmprobe.scenarios.relations import base_id
from kvmprobe.scenarios.selection import Expression, Kind, Term, holds, parse, terms, wrong
from kvmprobe.scenarios.traits import names_of, op_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from kvmprobe.cli.traits import Traits
    from kvmprobe.results.record import ScenarioRecord

ANY = "any"


def all_ids() -> list[str]:
    """Return every scenario's id; they are the same for every host."""
    return [traits.scenario.id for traits in catalogue()]


def wanted(select: Sequence[str], exclude: Sequence[str] = ()) -> Callable[[str], bool]:
    """Return a predicate over ids: some expression of ``select`` is true, none of ``exclude`` is.

    Without ``select`` all ids are wanted.

    :raises UsageError: an expression cannot be parsed, has a term that matches nothing, or no
        scenario is left
    """
    chosen = [_read("--select", text) for text in select]
    left_out = [_read("--exclude", text) for text in exclude]
    ids = {
        traits.scenario.id
        for traits in catalogue()
        if (not chosen or any(_holds(traits, e) for e in chosen))
        and not any(_holds(traits, e) for e in left_out)
    }
    if not ids:
        given = [f"--select {text!r}" for text in select]
        given += [f"--exclude {text!r}" for text in exclude]
        raise UsageError(f"{' '.join(given)}: no scenario is left; `kvmprobe list` lists all")
    return ids.__contains__


def in_catalog_order(records: Iterable[ScenarioRecord]) -> list[ScenarioRecord]:
    """Return records in the order of the catalogue, those of derived scenarios after their base's.

    Those of an earlier attempt that this catalogue does not have come last.
    """
    rank = {name: place for place, name in enumerate(all_ids())}

    def key(record: ScenarioRecord) -> tuple[int, bool]:
        if record.id in rank:
            return rank[record.id], False
        return rank.get(base_id(record.id), len(rank)), True

    return sorted(records, key=key)


def _read(option: str, text: str) -> Expression:
    try:
        expression = parse(text)
        for term in terms(expression):
            _check(text, term)
    except UsageError as error:
        raise UsageError(f"{option}: {error}") from None
    return expression


def _holds(traits: Traits, expression: Expression) -> bool:
    return holds(expression, lambda term: _matches(traits, term))


def _matches(traits: Traits, term: Term) -> bool:
    match term.kind:
        case Kind.ID:
            return fnmatchcase(traits.scenario.id, term.glob)
        case Kind.OP:
            return not _ops(term.glob).isdisjoint(traits.ops)
        case Kind.TAG:
            return any(fnmatchcase(tag, term.glob) for tag in traits.tags)
        case Kind.HAZARD:
            if term.glob == ANY:
                return traits.hazard is not None
            return not _defects(term.glob).isdisjoint(traits.hazard_ids)
        case Kind.DEFECT:
            return not _defects(term.glob).isdisjoint(traits.defects)


@cache
def _ops(glob: str) -> frozenset[str]:
    """Return the names of the ops that match a glob."""
    return frozenset(
        name
        for name, op in registry().items()
        if any(fnmatchcase(spoken, op_key(glob)) for spoken in names_of(op))
    )


@cache
def _defects(glob: str) -> frozenset[str]:
    """Return the ids of the known defects that match a glob."""
    return frozenset(
        defect
        for defect, names in defect_names().items()
        if glob == ANY or any(fnmatchcase(name, glob) for name in names)
    )


def _check(text: str, term: Term) -> None:
    """Refuse a term that matches nothing."""
    if _matches_anything(term):
        return
    what, valid = _alternatives(term.kind)
    problem = f"{term.text!r} matches no {what}"
    raise wrong(text, term.place, len(term.text), problem, valid)


def _matches_anything(term: Term) -> bool:
    match term.kind:
        case Kind.ID:
            return any(fnmatchcase(name, term.glob) for name in all_ids())
        case Kind.OP:
            return bool(_ops(term.glob))
        case Kind.TAG:
            return any(fnmatchcase(tag, term.glob) for tag in known_tags())
        case Kind.HAZARD | Kind.DEFECT:
            return bool(_defects(term.glob))


def _alternatives(kind: Kind) -> tuple[str, str]:
    """Return what such a term names, and the valid names."""
    match kind:
        case Kind.ID:
            return "scenario", f"`kvmprobe list` lists them, for example {all_ids()[0]}"
        case Kind.OP:
            return "op", f"ops: {', '.join(sorted(registry()))}"
        case Kind.TAG:
            return "tag", f"tags: {', '.join(known_tags())}"
        case Kind.HAZARD | Kind.DEFECT:
            ids = ", ".join((ANY, *sorted(defect_names())))
            return "known defect", f"known defects: {ids}; `explain ID` describes one"
