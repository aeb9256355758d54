"""The directory of a find: its sequence, reduced and as it was found, and what explains it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kvmprobe import __version__
from kvmprobe.errors import RunDirectoryError, ScenarioError, Unavailable
from kvmprobe.model.sapphire_rapids import sapphire_rapids
from kvmprobe.reports.console import details
from kvmprobe.repro.program import program
from kvmprobe.results.durable import write_file
from kvmprobe.scenarios.document import to_document
from kvmprobe.scenarios.domain import judgeable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from kvmprobe.execution.reducing import Contribution, Reduced
    from kvmprobe.model.host import HostProfile
    from kvmprobe.repro.other_hosts import Profile
    from kvmprobe.results.record import ScenarioRecord
    from kvmprobe.scenarios.scenario import Scenario
    from kvmprobe.search.signature import Signature

FINDS = "finds"
ORIGINAL, REDUCED, PROGRAM = "original.json", "reduced.json", "reproducer.c"
_SCHEMA = "kvmprobe-find/1"


@dataclass(frozen=True, slots=True)
class Find:
    """One kind of failure that a search has found.

    :ivar name: of its directory
    :ivar scenario: the first sequence that showed it
    :ivar record: of that sequence, or of its blind twin
    :ivar reduced: None if it has not been reduced
    :ivar found_after: seconds of the search before it
    :ivar kernels: whether it shows, by kernel
    :ivar like: the name of an earlier find whose reduced sequence changes state as this one does
    """

    name: str
    signature: Signature
    scenario: Scenario
    record: ScenarioRecord
    reduced: Reduced | None
    found_after: float
    kernels: Mapping[str, bool]
    like: str = ""

    @property
    def smallest(self) -> Scenario:
        """The reduced sequence, or else the one that was found."""
        return self.reduced.scenario if self.reduced else self.scenario

    @property
    def best_record(self) -> ScenarioRecord:
        """The record of that."""
        own = self.reduced.record if self.reduced else None
        return own or self.record


def write(run: Path, find: Find, host: HostProfile, profile: Profile) -> Path:
    """Write a find's directory in a run's directory; return it.

    :param host: for which the C program is written
    :raises RunDirectoryError: it cannot be written
    """
    folder = run / FINDS / find.name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in _files(find, host, profile):
            write_file(folder / name, content)
    except OSError as error:
        raise RunDirectoryError(f"{folder}: {error.strerror}") from error
    return folder


def unwritten(scenario: Scenario) -> list[str]:
    """Return the lines that are left of a sequence that cannot be written: its document."""
    return [
        f"{scenario.id} could not be written; `kvmprobe replay` takes it from a file with:",
        *to_document(scenario).splitlines(),
    ]


def _files(find: Find, host: HostProfile, profile: Profile) -> Iterator[tuple[str, str]]:
    yield ORIGINAL, to_document(find.scenario)
    if find.reduced:
        yield REDUCED, to_document(find.reduced.scenario)
    yield "find.json", json.dumps(_data(find), indent=1) + "\n"
    yield "find.txt", "\n".join(text_of(find)) + "\n"
    if log := _log(find.best_record):
        yield "kernel.log", log
    try:
        yield PROGRAM, program(find.smallest, host, profile)
    except (ScenarioError, Unavailable) as reason:
        yield "no-reproducer.txt", f"{reason}\n"


def text_of(find: Find) -> list[str]:
    """Return what people read of a find."""
    record = find.best_record
    lines = [
        str(find.signature),
        f"{record.label}, on {record.target.description}",
        f"found after {find.found_after:.1f} s in {find.scenario.id}",
    ]
    lines += [
        f"on {kernel}: {'shows' if shows else 'does not show'}"
        for kernel, shows in find.kernels.items()
    ]
    ops = [op for _, op in find.smallest.ops()]
    if not judgeable(ops, sapphire_rapids()):
        lines.append("replay cannot read its document: the model can judge it on this host alone")
    if find.reduced:
        lines += _reduction(find.reduced, len(list(find.scenario.ops())))
    lines += [str(line) for line in details(record)]
    return lines


def _reduction(reduced: Reduced, before: int) -> Iterator[str]:
    if not reduced.reproduces:
        yield "it did not fail again: it may depend on chance, or on what ran before it"
        return
    count = len(list(reduced.scenario.ops()))
    partly = "" if reduced.complete else "; the budget was spent, so it may still be reducible"
    yield (
        f"reduced from {before} to {count} calls, {len(reduced.scenario.steps)} steps, in "
        f"{reduced.seconds:.1f} s and {reduced.trials} trials{partly}"
    )
    for number, step in enumerate(reduced.scenario.steps):
        yield f"  step {number}: {step.op.text}"
        yield from (f"    {op.text}" for op in step.observers)
    if reduced.contributions:
        yield "without one of them:"
        yield from (f"  {contribution_text(each)}" for each in reduced.contributions)


def contribution_text(contribution: Contribution) -> str:
    """Return what an op contributes: what comes without it."""
    others = f" and {contribution.others} that depend on it" if contribution.others else ""
    if not contribution.left:
        comes = "nothing is left"
    else:
        comes = "; ".join(map(str, contribution.comes)) or "nothing fails"
    return f"{contribution.op.text}{others}: {comes}"


def _log(record: ScenarioRecord) -> str:
    if record.crash:
        return record.crash.report.rstrip("\n") + "\n"
    lines = [line for step in record.steps for line in step.kernel_log]
    return "\n".join(lines) + "\n" if lines else ""


def _data(find: Find) -> dict[str, Any]:
    record, reduced = find.best_record, find.reduced
    return {
        "schema": _SCHEMA,
        "tool": f"kvmprobe {__version__}",
        "signature": {
            "kind": find.signature.kind,
            "what": find.signature.what,
            "where": list(find.signature.where),
        },
        "id": find.smallest.id,
        "verdict": record.verdict.value,
        "known": list(record.known),
        "kernel": record.target.kernel,
        "source": record.target.source,
        "host": record.target.variant.options,
        "found_after_seconds": round(find.found_after, 1),
        "reproduces": None if reduced is None else reduced.reproduces,
        "kernels": dict(find.kernels),
        "like": find.like,
        "steps": len(find.smallest.steps),
        "trials": reduced.trials if reduced else 0,
        "contributions": [
            contribution_text(each) for each in (reduced.contributions if reduced else ())
        ],
    }
