"""The coverage that a run's journal has."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kvmprobe.coverage.functions import KernelFunctions
from kvmprobe.coverage.measured import Measured
from kvmprobe.coverage.reached import unpack
from kvmprobe.errors import ScenarioError, UsageError
from kvmprobe.results.codec import from_json
from kvmprobe.results.journal import EntryType, read_entries
from kvmprobe.results.record import Target
from kvmprobe.results.run_directory import JOURNAL, is_run_directory, no_run, payload

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path


@dataclass(slots=True)
class _OnTarget:
    functions: str
    reached: dict[str, int] = field(default_factory=dict)


def coverage_of(path: Path, entries: Iterable[Mapping[str, Any]]) -> dict[Target, Measured]:
    """Return the coverage of each target of a run that has any.

    :param path: the run directory
    :param entries: its journal
    :raises UsageError: a payload is missing or damaged
    :raises ScenarioError: an entry is not well-formed, or of another version
    """
    found: dict[Target, _OnTarget] = {}
    watched, here = "", None
    try:
        for entry in entries:
            match EntryType(entry["type"]):
                case EntryType.BEGIN:
                    watched, here = "", None
                case EntryType.WATCHED:
                    watched = entry["functions"]
                case EntryType.PLACE:
                    here = None
                    if watched:
                        target = from_json(Target, entry["target"], "$.target")
                        here = found.setdefault(target, _OnTarget(watched))
                        if here.functions != watched:
                            raise ScenarioError(f"{target.description}: two lists of functions")
                        watched = ""
                case EntryType.REACHED if here is not None:
                    name = entry["scenario"]
                    here.reached[name] = here.reached.get(name, 0) | unpack(entry["blocks"])
                case _:
                    pass
        return {target: _measured(path, each) for target, each in found.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ScenarioError(f"{path}: coverage in the journal: {error!r}") from error


def coverage_of_directory(path: Path) -> dict[Target, Measured]:
    """Return the coverage of the run in a directory; see :func:`coverage_of`.

    :raises UsageError: no run was written there
    """
    if not is_run_directory(path):
        raise UsageError(no_run(path))
    return coverage_of(path, read_entries(path / JOURNAL))


def _measured(path: Path, target: _OnTarget) -> Measured:
    functions = KernelFunctions.from_json(json.loads(payload(path, target.functions)))
    return Measured.of(functions, target.reached)
