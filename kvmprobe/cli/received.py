"""The run directory of a search on another machine, written from what its worker returned.

It is data of another machine.  Records and documents are parsed and written anew, texts lose their
control characters, and the C program of a find comes from its sequence.
"""

from __future__ import annotations

import json
import os
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from kvmprobe.cli.finds import ORIGINAL, PROGRAM, REDUCED
from kvmprobe.errors import RunDirectoryError, ScenarioError, Unavailable
from kvmprobe.execution.journaling import Journaling
from kvmprobe.execution.place import Risk
from kvmprobe.model.sapphire_rapids import sapphire_rapids
from kvmprobe.reports.excerpt import printable
from kvmprobe.repro.other_hosts import Profile
from kvmprobe.repro.program import program
from kvmprobe.results.durable import write_file
from kvmprobe.results.run_directory import RunDirectory
from kvmprobe.results.run_document import Ending
from kvmprobe.scenarios.document import from_document, to_document
from kvmprobe.search.explored import EXPLORED

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Any

    from kvmprobe.fleet.parcel import Parcel
    from kvmprobe.results.history import History

_INDENT = 1


def write_received(path: Path, parcel: Parcel, facts_of: Mapping[str, Mapping[str, Any]]) -> None:
    """Write it.

    :param facts_of: the facts about the machines, by their hash in the history
    :raises ScenarioError: a document is none, or an output is missing
    :raises UsageError, RunDirectoryError: it cannot be written
    """
    history = parcel.history
    if history is None:
        return
    begin = {name: value for name, value in history.begin.items() if name != "type"}
    directory = RunDirectory.create(path, begin)
    try:
        _write_history(directory, history, parcel, facts_of)
        for name, text in parcel.files.items():
            _write_file(directory.path / name, text)
        for name in _smallest(parcel.files):
            _write_program(directory.path / name)
    finally:
        directory.close()


def _write_history(
    directory: RunDirectory,
    history: History,
    parcel: Parcel,
    facts_of: Mapping[str, Mapping[str, Any]],
) -> None:
    ledger = Journaling(directory)
    for target, name in history.facts.items():
        risk = Risk.REAL if target in history.real else Risk.EXPENDABLE
        ledger.place(target, risk, facts_of[name])
        if growth := history.growth.get(target):
            for point in growth.points:
                ledger.grew(growth.strategy, point)
        for (where, scenario), record in history.records.items():
            if where == target:
                ledger.keep_outputs(scenario, parcel.outputs(target, scenario))
                ledger.record(record)
    end = history.end or {"complete": False}
    ending = Ending.COMPLETE if end["complete"] else Ending.CUT_SHORT
    ledger.finish(ending, (), end.get("notes", ()))


def _write_file(file: Path, text: str) -> None:
    if file.name in {"find.json", EXPLORED}:
        try:
            text = json.dumps(json.loads(text), indent=_INDENT) + "\n"
        except (ValueError, RecursionError) as error:
            raise ScenarioError(f"{file}: {error}") from error
    elif file.suffix == ".json":
        text = to_document(from_document(text.encode()))
    else:
        text = "".join(f"{printable(line)}\n" for line in text.splitlines())
    _put(file, text)


def _put(file: Path, text: str) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_file(file, text)
    except OSError as error:
        raise RunDirectoryError(f"{file}: {os.strerror(error.errno or 0)}") from error


def _smallest(files: Mapping[str, str]) -> list[str]:
    """Return the documents of which each find has a program: the reduced one, or the original."""
    finds = {str(PurePosixPath(name).parent) for name in files if name.startswith("finds/")}
    ways = [[f"{find}/{name}" for name in (REDUCED, ORIGINAL)] for find in sorted(finds)]
    return [next(name for name in way if name in files) for way in ways if {*way} & {*files}]


def _write_program(document: Path) -> None:
    scenario = from_document(document.read_bytes())
    try:
        text = program(scenario, sapphire_rapids(), Profile.ASSUMED)
    except (ScenarioError, Unavailable) as reason:
        _put(document.with_name("no-reproducer.txt"), f"{reason}\n")
    else:
        _put(document.with_name(PROGRAM), text)
