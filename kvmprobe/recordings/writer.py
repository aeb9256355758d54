"""Writes a recording: each payload before the first line that refers to it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, BinaryIO

from kvmprobe.recordings.lines import (
    NAMES,
    Call,
    End,
    EndReason,
    Header,
    Line,
    Permission,
    Run,
)
from kvmprobe.recordings.payloads import Window, name_of, pack
from kvmprobe.recordings.schema import HOST
from kvmprobe.results.codec import to_json

if TYPE_CHECKING:
    from collections.abc import Mapping

_encode = json.JSONEncoder(separators=(",", ":")).encode


class RecordingWriter:
    """A recording that is being written; errors of the file are OSError."""

    def __init__(
        self, file: BinaryIO, header: Header, host: Mapping[str, Any] | None = None
    ) -> None:
        """Write the beginning.

        :param host: facts of the host and behaviours of its kernel, as ``Preflight.recorded``
            (:mod:`execution.preflight`) has them
        """
        self._file = file
        self._window = Window()
        self.calls = 0
        """Number of call, permission and run lines."""
        self.write(header)
        if host is not None:
            self._put({"type": HOST, "facts": host})
        file.flush()

    def payload(self, content: bytes) -> str:
        """Write a payload unless the window has it; returns the name for other lines."""
        name = name_of(content)
        if name not in self._window:
            self._window.add(name, content)
            self.write(pack(content))
        return name

    def write(self, line: Line) -> None:
        """Write a line; its payloads must have been written just before."""
        self.calls += isinstance(line, Call | Permission | Run)
        self._put({"type": NAMES[type(line)], **to_json(type(line), line)})

    def end(self, order: int, reason: EndReason, status: int | None = None) -> None:
        """Write the last line."""
        self.write(End(order, reason, self.calls, status))
        self._file.flush()

    def _put(self, members: Mapping[str, Any]) -> None:
        left = memoryview(_encode(members).encode() + b"\n")
        # An unbuffered file takes what fits.
        while left:
            left = left[self._file.write(left) :]
