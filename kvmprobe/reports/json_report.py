"""A run as one JSON document, which is complete after each record, even if the run is cut short.

One write replaces the end of the document by a record and a new end.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from typing import TYPE_CHECKING, Any

from kvmprobe import __version__
from kvmprobe.errors import ReportFileError, UsageError
from kvmprobe.results.codec import to_json
from kvmprobe.results.durable import write_all
from kvmprobe.results.record import Target
from kvmprobe.results.record_json import record_to_json
from kvmprobe.results.schema import RUN

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from kvmprobe.results.record import ScenarioRecord


class JsonReport:
    """Writes the document to a new file."""

    def __init__(self, path: Path, command: Sequence[str]) -> None:
        """Create the document.

        :raises UsageError: the file cannot be written
        """
        self._path = path
        try:
            self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise UsageError(f"--json {path}: {error.strerror}") from error
        head = {"schema": RUN, "tool": f"kvmprobe {__version__}", "command": list(command)}
        self._end = 0
        self._counts: Counter[str] = Counter()
        self._targets: dict[Target, None] = {}
        self._summary: dict[str, Any] = {"complete": False, "not_completed": []}
        self._append(json.dumps(head)[:-1].encode() + b',\n"scenarios": [')
        self._separator = b"\n"

    def add(self, record: ScenarioRecord) -> None:
        """Add the record of a scenario."""
        self._counts[record.verdict.value] += 1
        self._targets[record.target] = None
        line = json.dumps(record_to_json(record), separators=(",", ":")).encode()
        self._append(self._separator + line)
        self._separator = b",\n"

    def finish(self, not_completed: Iterable[str], *, complete: bool) -> None:
        """Write the summary: whether the run is complete, and the ids without a record."""
        self._summary = {"complete": complete, "not_completed": list(not_completed)}
        self._append(b"")

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)

    def _append(self, content: bytes) -> None:
        summary = self._summary | {"counts": dict(self._counts)}
        targets = json.dumps([to_json(Target, t) for t in self._targets])
        tail = f'\n],\n"targets": {targets},\n"summary": {json.dumps(summary)}}}\n'.encode()
        try:
            write_all(self._fd, content + tail, self._end)
            self._end += len(content)
            os.ftruncate(self._fd, self._end + len(tail))
        except OSError as error:
            raise ReportFileError(
                f"--json {self._path}: {error.strerror}; earlier records are kept"
            ) from error
