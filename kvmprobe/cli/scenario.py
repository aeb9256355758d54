"""The one scenario that a command is about: by its id, or a document of its own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from kvmprobe.errors import ScenarioError, UsageError
from kvmprobe.scenarios import catalog
from kvmprobe.scenarios.document import from_document

if TYPE_CHECKING:
    from kvmprobe.model.host import HostProfile
    from kvmprobe.scenarios.scenario import Scenario

SCENARIO_HELP = "its id, as `kvmprobe list` prints it, or a file ending in .json"
_SUFFIX = ".json"


def named(name: str, host: HostProfile) -> Scenario:
    """Return the scenario with that id for a host, or the one in that file.

    :raises UsageError: there is no such scenario, or no such file
    :raises ScenarioError: the file describes no scenario
    """
    if name.endswith(_SUFFIX):
        return read(Path(name))
    found = [scenario for scenario in catalog.scenarios(host) if scenario.id == name]
    if not found:
        raise UsageError(f"no scenario is called {name!r}; see `kvmprobe list`")
    return found[0]


def read(path: Path) -> Scenario:
    """Return the scenario that a file describes.

    :raises UsageError: the file cannot be read
    :raises ScenarioError: it describes no scenario; the message has the path within it
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    try:
        return from_document(content)
    except ScenarioError as error:
        raise ScenarioError(f"{path}: {error}") from error
