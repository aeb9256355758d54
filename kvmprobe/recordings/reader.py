"""Reads a recording line by line, in memory that does not grow with it.

Whatever the file contains, errors name the path, the line and what was expected.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, BinaryIO, Self

from kvmprobe.errors import RecordingError, RecordingTruncated, ScenarioError
from kvmprobe.recordings.entries import Entry, Links
from kvmprobe.recordings.lines import LINES, End, Header, Line, ObjectLine, PayloadLine
from kvmprobe.recordings.payloads import unpack
from kvmprobe.recordings.schema import ARCHITECTURE, HOST, MOST_LINE
from kvmprobe.results.codec import from_json
from kvmprobe.results.schema import RECORDING, refusal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path
    from types import TracebackType


class RecordingReader:
    """An open recording; iterate over it once for its entries.

    :ivar header: its first line
    :ivar host: facts of the host and behaviours of its kernel, for ``Preflight.of_recorded``; None
        if they were not recorded
    :ivar end: its last line; None until it has been reached
    """

    header: Header
    host: Mapping[str, Any] | None
    end: End | None

    def __init__(self, path: Path) -> None:
        """Open a recording and read its beginning.

        :raises RecordingError: it cannot be read, is not a recording, or is of another version or
            architecture
        """
        self._path = path
        self._number = 0
        self.host = self.end = None
        self._links = Links()
        try:
            self._file: BinaryIO = path.open("rb")
        except OSError as error:
            raise RecordingError(f"{path}: {error.strerror}") from error
        try:
            self.header = self._header()
            self._ahead: dict[str, Any] | None = self._members()
            if self._ahead is not None and self._ahead.get("type") == HOST:
                self.host = self._host(self._ahead)
                self._ahead = self._members()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self._file.close()

    def __iter__(self) -> Iterator[Entry]:
        """Return each line after the beginning, payloads and objects resolved.

        :raises RecordingTruncated: it has no last line; all entries before were returned
        :raises RecordingError: a line is not what the format says
        """
        while (members := self._next()) is not None:
            line = self._line(members)
            if isinstance(line, PayloadLine):
                self._add_payload(line)
            else:
                yield self._entry(line)
        if self.end is None:
            raise RecordingTruncated(
                f"{self._path}:{self._number}: the recording ends here without a line of type "
                "'end': it was truncated, or the recorder was killed"
            )

    def _next(self) -> dict[str, Any] | None:
        members, self._ahead = self._ahead, None
        return members if members is not None else self._members()

    def _entry(self, line: Line) -> Entry:
        if self.end is not None:
            raise self._wrong("expected nothing after the line of type 'end'")
        try:
            entry = self._links.resolve(self._number, line)
        except ValueError as error:
            raise self._wrong(str(error)) from None
        if isinstance(line, ObjectLine):
            self._links.add_object(line)
        if isinstance(line, End):
            self.end = line
        return entry

    def _header(self) -> Header:
        members = self._members()
        schema = members.get("schema") if members else None
        if members is None or members.get("type") != "recording" or schema != RECORDING:
            raise RecordingError(f"{self._path}: {refusal(schema, RECORDING)}")
        architecture = members.get("architecture")
        if architecture != ARCHITECTURE:
            raise self._wrong(
                f"architecture: expected {ARCHITECTURE}, not {architecture!r:.40}; kvmprobe reads "
                "no other"
            )
        header = self._line(members)
        assert isinstance(header, Header)  # noqa: S101 - its type was looked at
        return header

    def _host(self, members: dict[str, Any]) -> Mapping[str, Any]:
        facts = members.get("facts")
        if not isinstance(facts, dict) or members.keys() != {"type", "facts"}:
            raise self._wrong("expected an object 'facts' and nothing else")
        return facts

    def _line(self, members: dict[str, Any]) -> Line:
        kind = members.pop("type", None)
        of = LINES.get(kind) if isinstance(kind, str) else None
        if of is None or (of is Header and self._number > 1):
            raise self._wrong(f"type: expected one of {', '.join(LINES)}, not {kind!r:.40}")
        try:
            return from_json(of, members)
        except ScenarioError as error:
            raise self._wrong(str(error)) from None

    def _add_payload(self, line: PayloadLine) -> None:
        try:
            self._links.window.add(line.hash, unpack(line))
        except ValueError as error:
            raise self._wrong(str(error)) from None

    def _members(self) -> dict[str, Any] | None:
        """Return the next line; None after the last one."""
        try:
            text = self._file.readline(MOST_LINE + 1)
        except OSError as error:
            raise RecordingError(f"{self._path}: {error.strerror}") from error
        if not text:
            return None
        self._number += 1
        if len(text) > MOST_LINE:
            raise self._wrong(f"expected a line of at most {MOST_LINE} bytes")
        if not text.endswith(b"\n"):
            if self._number == 1:
                raise RecordingError(f"{self._path}: {refusal(None, RECORDING)}")
            raise RecordingTruncated(
                f"{self._path}:{self._number}: the recording ends within this line: it was "
                "truncated, or the recorder was killed"
            )
        return self._parsed(text)

    def _parsed(self, text: bytes) -> dict[str, Any]:
        try:
            members = json.loads(text)
        except (ValueError, RecursionError) as error:
            if self._number == 1:
                raise RecordingError(f"{self._path}: {refusal(None, RECORDING)}") from None
            reason = "nested too deep" if isinstance(error, RecursionError) else error
            raise self._wrong(f"expected a JSON object: {reason}") from None
        if not isinstance(members, dict):
            raise self._wrong("expected a JSON object")
        return members

    def _wrong(self, what: str) -> RecordingError:
        return RecordingError(f"{self._path}:{self._number}: {what}")
