"""The scenarios that a command is about: by id, or from documents."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kvmprobe.errors import RunDirectoryError, ScenarioError, UsageError
from kvmprobe.results.durable import write_file
from kvmprobe.scenarios import relations
from kvmprobe.scenarios.document import check_domain, from_document, to_document
from kvmprobe.scenarios.strict_json import content_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from kvmprobe.model.host import HostProfile
    from kvmprobe.scenarios.scenario import Scenario

SCENARIO_HELP = "its id, as `kvmprobe list` prints it, or a file ending in .json"
SUFFIX = ".json"
# In a run's directory: the scenarios of a replayed run, which the catalogue may not have.
KEPT = "scenarios"


@dataclass(frozen=True, slots=True)
class Document:
    """A scenario and the file it was read from."""

    path: Path
    scenario: Scenario

    def check(self, host: HostProfile) -> None:
        """Check that the model can judge the scenario on a host.

        :raises ScenarioError: it cannot; the message has the path within the file
        """
        try:
            check_domain(self.scenario, host)
        except ScenarioError as error:
            raise ScenarioError(f"{self.path}: {error}") from error


def named(name: str, host: HostProfile, run: Path | None = None) -> Scenario:
    """Return the scenario with that id for a host, or the one in that file.

    :param run: a run's directory, which may have kept it; then that one is meant
    :raises UsageError: there is no such scenario, or no such file
    :raises ScenarioError: the file describes no scenario
    """
    if name.endswith(SUFFIX):
        return read(Path(name))
    if run is not None and (kept := run / KEPT / f"{name}{SUFFIX}").is_file():
        return read(kept)
    found = relations.scenario(name, host)
    if found is None:
        file = "" if run is None else "; if it was replayed, name its file"
        raise UsageError(f"unknown scenario {name!r}; `kvmprobe list` lists them{file}")
    return found


def documents_in(paths: Iterable[Path]) -> Mapping[str, Document]:
    """Return the scenarios of files, and of the files in directories, by id.

    :raises UsageError: a file cannot be read, a directory has none, or two have one id
    :raises ScenarioError: a file describes no scenario
    """
    found: dict[str, Document] = {}
    for path in dict.fromkeys(file for given in paths for file in _files(given)):
        scenario = read(path)
        if scenario.id in found:
            raise UsageError(
                f"{path}: its id {scenario.id!r} is also that of {found[scenario.id].path}; "
                "change one of them"
            )
        found[scenario.id] = Document(path, scenario)
    return found


def _files(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return
    files = sorted(path.glob(f"*{SUFFIX}"))
    if not files:
        raise UsageError(f"{path}: no file in it ends in {SUFFIX}")
    yield from files


def keep(run: Path, documents: Mapping[str, Document]) -> None:
    """Keep the scenarios in a run's directory.

    :raises RunDirectoryError: they cannot be written
    """
    folder = run / KEPT
    try:
        folder.mkdir()
        for name, document in documents.items():
            write_file(folder / f"{name}{SUFFIX}", to_document(document.scenario))
    except OSError as error:
        raise RunDirectoryError(f"{folder}: {error.strerror}") from error


def keep_one(run: Path, scenario: Scenario) -> None:
    """Keep one more scenario in a run's directory.

    :raises RunDirectoryError: it cannot be written
    """
    file = run / KEPT / f"{scenario.id}{SUFFIX}"
    try:
        file.parent.mkdir(exist_ok=True)
        write_file(file, to_document(scenario))
    except OSError as error:
        raise RunDirectoryError(f"{file}: {error.strerror}") from error


def read(path: Path) -> Scenario:
    """Return the scenario that a file describes.

    :raises UsageError: the file cannot be read
    :raises ScenarioError: it describes no scenario; the message has the path within it
    """
    try:
        return from_document(content_of(path))
    except ScenarioError as error:
        raise ScenarioError(f"{path}: {error}") from error
