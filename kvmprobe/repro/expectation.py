"""What the model expects from each call on every correct kernel.

A program is written for one host, but may run on kernels whose legal behaviours differ.  So the
model also runs with each behaviour inverted, and with another CPUID table.  The program prints the
results that change, and does not judge them.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from kvmprobe.model.behaviours import DEFECTS, variants
from kvmprobe.model.outcome import (
    Done,
    Failed,
    HostDies,
    NewDescriptor,
    NotCovered,
    OneOf,
    Unspecified,
)
from kvmprobe.repro.other_hosts import featured, versions
from kvmprobe.results.known import known_defects
from kvmprobe.scenarios.model_run import ModelRun
from kvmprobe.scenarios.showing import shows

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kvmprobe.model.behaviours import Behaviour
    from kvmprobe.model.host import HostProfile
    from kvmprobe.model.outcome import ExpectedBytes, ExpectedImage, ExpectedTable, Step
    from kvmprobe.model.rule import Rule
    from kvmprobe.repro.other_hosts import Profile
    from kvmprobe.scenarios.ops import Op
    from kvmprobe.scenarios.scenario import Scenario


@dataclass(frozen=True, slots=True)
class Expectation:
    """The result of one call on every correct kernel; parts that may differ are None or omitted.

    :ivar op: has the offsets of named values
    :ivar result: return value, or -errno
    :ivar open_fields: unspecified bits of fields
    :ivar images: the legal images
    :ivar more_entries: the table may have further entries
    :ivar death: why the call kills the host; empty if it does not
    :ivar depends_on: behaviours and features on which the omitted parts depend
    """

    op: Op
    rule: Rule
    result: int | NewDescriptor | None
    fields: Mapping[str, int] = field(default_factory=dict)
    open_fields: Mapping[str, int] = field(default_factory=dict)
    images: tuple[ExpectedImage, ...] = ()
    memory: ExpectedBytes | None = None
    table: ExpectedTable | None = None
    more_entries: bool = False
    depends_on: tuple[str, ...] = ()
    death: str = ""


def expectations(
    scenario: Scenario, host: HostProfile, profile: Profile
) -> tuple[Expectation, ...]:
    """Return the expectation of each call of the scenario, in order."""
    plain = host.without_defects
    expected = _plain(scenario, plain)
    found = list(expected)
    for name, base in [("", plain), *featured(plain, profile)]:
        of_base = _plain(scenario, base)
        _merge(found, expected, of_base, name)
        for version, other in versions(base):
            _merge(found, of_base, _plain(scenario, other), version)
    return tuple(found)


def _merge(
    found: list[Expectation],
    usual: Sequence[Expectation],
    others: Sequence[Expectation],
    name: str,
) -> None:
    """Omit from ``found`` what differs between the two lists of expectations."""
    for place, (theirs, ours) in enumerate(zip(others, usual, strict=True)):
        if _says(theirs) != _says(ours):
            found[place] = _common(found[place], theirs, name)


def showing(scenario: Scenario, host: HostProfile) -> tuple[str, ...]:
    """Return the known defects, by identifier, with which a kernel must answer otherwise."""
    plain = ModelRun(host.without_defects)
    return tuple(
        known_defects()[defect].id
        for defect in sorted(DEFECTS & known_defects().keys(), key=lambda d: d.name)
        if shows(scenario, plain, ModelRun(_with(host, defect)))
    )


def _with(host: HostProfile, defect: Behaviour) -> HostProfile:
    return replace(host, behaviours=variants(host.behaviours) | {defect})


def _plain(scenario: Scenario, host: HostProfile) -> list[Expectation]:
    ops = [op for _, op in scenario.ops()]
    walk = ModelRun(host).walk(scenario)
    return [_of(op, known.step) for op, known in zip(ops, walk, strict=True)]


def _of(op: Op, step: Step) -> Expectation:
    rule = step.rule
    match step.outcome:
        case NewDescriptor() as descriptor:
            return Expectation(op, rule, descriptor)
        case Failed(errno, fields):
            return Expectation(op, rule, -errno, fields)
        case Done(value, fields, image, open_fields, memory, table):
            # An image says more than its fields, and the tool compares either.
            named = {} if image else fields
            images = tuple(filter(None, [image]))
            return Expectation(op, rule, value, named, open_fields, images, memory, table)
        case OneOf() as either:
            return _of_either(op, rule, either)
        case HostDies(reason):
            return Expectation(op, rule, None, death=reason)
        case NotCovered():
            return Expectation(op, rule, None)


def _of_either(op: Op, rule: Rule, either: OneOf) -> Expectation:
    """Return what all legal answers have in common; of images, all of them."""
    first, *others = either.choices
    images = tuple(choice.image for choice in either.choices if choice.image)
    named = {} if images else first.fields
    return Expectation(
        op,
        rule,
        first.value if all(one.value == first.value for one in others) else None,
        {k: v for k, v in named.items() if all(one.fields.get(k) == v for one in others)},
        first.open_fields,
        images,
        _common_memory(either),
    )


def _common_memory(either: OneOf) -> ExpectedBytes | None:
    first, *others = [choice.memory for choice in either.choices]
    if first is None:
        return None
    places, differing = list(first.unspecified), bytes(len(first.content))
    for other in others:
        if other is None or (other.offset, len(other.content)) != (first.offset, len(differing)):
            return None
        places += other.unspecified
        pairs = zip(differing, first.content, other.content, strict=True)
        differing = bytes(known | (one ^ another) for known, one, another in pairs)
    if any(differing):
        start = len(differing) - len(differing.lstrip(b"\0"))
        places.append(Unspecified(start, differing.strip(b"\0"), either.freedom))
    return first._replace(unspecified=tuple(dict.fromkeys(places)))


def _says(one: Expectation) -> tuple[object, ...]:
    return one.result, one.fields, one.open_fields, one.images, one.memory, one.table


def _common(one: Expectation, other: Expectation, name: str) -> Expectation:
    """Return what both expectations have in common."""
    same = {k: v for k, v in one.fields.items() if other.fields.get(k) == v}
    table, more = _common_table(one, other)
    return replace(
        one,
        result=one.result if one.result == other.result else None,
        fields=same,
        images=one.images if one.images == other.images else (),
        memory=one.memory if one.memory == other.memory else None,
        table=table,
        more_entries=more,
        depends_on=tuple(dict.fromkeys((*one.depends_on, name))),
    )


def _common_table(one: Expectation, other: Expectation) -> tuple[ExpectedTable | None, bool]:
    """Return the shorter table if the longer one begins with it."""
    if one.table is None or other.table is None:
        return None, one.more_entries
    if one.table == other.table:
        return one.table, one.more_entries
    shorter, longer = sorted((one.table, other.table), key=lambda t: len(t.table.entries))
    begins = longer.table.entries[: len(shorter.table.entries)] == shorter.table.entries
    return (shorter, True) if begins else (None, one.more_entries)
