"""What a worker returns: how a shard ended, and its run directory, as compressed JSON.

It is data of another machine: each part is read by the parser that reads run directories, with
bounds on its size, and the receiver writes what it has understood in its own words.
"""

from __future__ import annotations

import hashlib
import json
import re
from base64 import b64decode, b64encode
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import zstandard

from kvmprobe.errors import ScenarioError
from kvmprobe.results.codec import from_json, to_json
from kvmprobe.results.history import History
from kvmprobe.results.journal import EntryType, read_entries
from kvmprobe.results.run_directory import JOURNAL, PAYLOADS, is_run_directory
from kvmprobe.search.explored import EXPLORED

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from kvmprobe.results.record import Target

# The whole catalogue with all outputs is 24 MB.
_MOST_BYTES = 1 << 30
# What a search keeps beside its journal.  Programs are not among it: the receiver writes its own.
_NAME = r"[A-Za-z0-9_][A-Za-z0-9_.+-]*"
_FILE = re.compile(rf"{re.escape(EXPLORED)}|(scenarios|finds/{_NAME})/{_NAME}\.(json|txt|log)")


@dataclass(frozen=True, slots=True)
class Ending:
    """How a shard ended.

    :ivar worker: the worker's name
    :ivar address: where dask reaches it
    :ivar refused: why it did not run to its end there; empty if it did
    :ivar died: how its process died, if it did
    :ivar open: ids that were running when it died
    :ivar elsewhere: the host where it was started before, if that was another one
    """

    worker: str
    address: str
    refused: str = ""
    died: str = ""
    open: tuple[str, ...] = ()
    elsewhere: str = ""


@dataclass(frozen=True, slots=True)
class Parcel:
    """A shard's ending, and what its run directory has.

    :ivar payloads: by SHA-256
    :ivar files: documents and texts, by path: ``finds/NAME/reduced.json``
    """

    ending: Ending
    history: History | None = None
    payloads: Mapping[str, bytes] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)

    def payload(self, name: str) -> bytes:
        """Return a payload.

        :raises ScenarioError: it is missing
        """
        try:
            return self.payloads[name]
        except KeyError:
            raise ScenarioError(f"a worker's payload {name:.80}: missing") from None

    def outputs(self, target: Target, scenario: str) -> Mapping[str, bytes]:
        """Return the outputs of a scenario's record, by step and call: ``3.0``.

        :raises ScenarioError: one is missing
        """
        names = self.history.outputs[target, scenario] if self.history else {}
        return {at: self.payload(name) for at, name in names.items()}


def pack(ending: Ending, folder: Path) -> bytes:
    """Return what a worker returns.

    :param folder: the run directory of the shard; it need not exist
    :raises UsageError: its journal is damaged
    """
    data: dict[str, Any] = {
        "ending": to_json(Ending, ending),
        "entries": [],
        "payloads": {},
        "files": {},
    }
    if is_run_directory(folder):
        data["entries"] = read_entries(folder / JOURNAL)
        payloads = (folder / PAYLOADS).glob("*/[0-9a-f]*")
        data["payloads"] = {one.name: b64encode(one.read_bytes()).decode() for one in payloads}
        data["files"] = dict(_texts(folder))
    return zstandard.compress(json.dumps(data, separators=(",", ":")).encode())


def unpack(content: object) -> Parcel:
    """Read what a worker returned.

    :raises ScenarioError: it is something else
    """
    if not isinstance(content, bytes):
        raise ScenarioError("a worker's result: not bytes")
    try:
        size = zstandard.frame_content_size(content)
        if not 0 <= size <= _MOST_BYTES:
            raise ScenarioError(f"a worker's result has {size} bytes, more than {_MOST_BYTES}")
        data = json.loads(zstandard.decompress(content))
        ending = from_json(Ending, data["ending"], "$.ending")
        payloads = dict(_payload(*item) for item in data["payloads"].items())
        files = dict(_file(*item) for item in data["files"].items())
        return Parcel(ending, _history(data["entries"]), payloads, files)
    except (zstandard.ZstdError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ScenarioError(f"a worker's result: {error!r:.300}") from error
    except RecursionError as error:
        raise ScenarioError("a worker's result: nested too deeply") from error


def _texts(folder: Path) -> Iterator[tuple[str, str]]:
    places = (EXPLORED, "scenarios/*", "finds/*/*")
    for file in (file for place in places for file in folder.glob(place)):
        name = str(file.relative_to(folder))
        if _FILE.fullmatch(name):
            yield name, file.read_text("utf-8", "replace")


def _file(name: str, text: object) -> tuple[str, str]:
    if not _FILE.fullmatch(name) or not isinstance(text, str):
        raise ScenarioError(f"a worker's file {name!r:.80}: not one that a search has")
    return name, text


def _history(entries: Any) -> History | None:  # noqa: ANN401 - JSON
    for entry in entries:
        EntryType(entry["type"])
    return History.of(entries) if entries else None


def _payload(name: str, text: str) -> tuple[str, bytes]:
    content = b64decode(text, validate=True)
    if hashlib.sha256(content).hexdigest() != name:
        raise ScenarioError(f"a worker's payload {name:.80}: its SHA-256 is not its name")
    return name, content
