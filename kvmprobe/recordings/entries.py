"""Lines with what they refer to: objects, payloads, and the ioctl that a request is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from kvmprobe.abi import ioctls
from kvmprobe.abi.tables import table_of
from kvmprobe.recordings.lines import Call, Header, Line, ObjectLine, ProcessLine, Run
from kvmprobe.recordings.payloads import Window
from kvmprobe.recordings.schema import MOST_OBJECTS, MOST_PROCESSES, MOST_TEXT

if TYPE_CHECKING:
    from kvmprobe.abi.ioctls import IoctlSpec


def spec_of(request: int) -> IoctlSpec | None:
    """Return the ioctl of a request number; None if kvmprobe does not describe it."""
    return ioctls.IN_RECORDINGS.get(request)


@dataclass(frozen=True, slots=True)
class Entry:
    """One line.

    :ivar number: of the line in the file, from 1
    :ivar target: the object that a call or run was issued on, or that runs are of
    :ivar spec: the ioctl of a call or run; None if kvmprobe does not describe it
    :ivar sent: the bytes of ``line.sent``; None if it has none.  The others likewise
    """

    number: int
    line: Line
    target: ObjectLine | None = None
    spec: IoctlSpec | None = None
    sent: bytes | None = None
    got: bytes | None = None
    sent_value: bytes | None = None
    got_value: bytes | None = None

    def with_whole_payloads(self) -> Entry:
        """Return the entry without payloads that are shorter than the ioctl's structure.

        Of a table they are whole with all entries that its head counts.  The recorder may have
        read a part only.
        """
        sent, got = (
            payload if payload is not None and len(payload) >= _size(self.spec, payload) else None
            for payload in (self.sent, self.got)
        )
        return replace(self, sent=sent, got=got) if (sent, got) != (self.sent, self.got) else self


def _size(spec: IoctlSpec | None, payload: bytes) -> int:
    """Return the size of an ioctl's structure with the entries that a payload counts."""
    if spec is None:
        return 0
    table = table_of(spec.argument)
    return table.offset(table.count(payload)) if table and len(payload) >= spec.size else spec.size


class Links:
    """What later lines may refer to, at one place of a recording."""

    def __init__(self) -> None:
        self.window = Window()
        self._objects: dict[str, ObjectLine] = {}
        self._processes: set[int] = set()
        self._order = -1

    def add_object(self, line: ObjectLine) -> None:
        """Let later lines refer to an object."""
        self._objects[line.id] = line

    def resolve(self, number: int, line: Line) -> Entry:
        """Return the entry of a line.

        :raises ValueError: it refers to what was not before it, or its order is not one
        """
        assert not isinstance(line, Header)  # noqa: S101 - there is only one, at the start
        self._advance(line)
        if isinstance(line, ObjectLine):
            self._check_object(line)
        elif isinstance(line, ProcessLine):
            self._check_process(line)
        elif isinstance(process := getattr(line, "process", None), int):
            self._require_process("process", process)
        target = self._object("on", getattr(line, "on", None))
        if isinstance(line, Call):
            return Entry(
                number,
                line,
                target,
                spec_of(line.request),
                self._payload("sent", line.sent),
                self._payload("got", line.got),
                self._payload("sent_value", line.sent_value),
                self._payload("got_value", line.got_value),
            )
        if isinstance(line, Run):
            sent, got = self._payload("sent", line.sent), self._payload("got", line.got)
            return Entry(number, line, target, ioctls.RUN, sent, got)
        return Entry(number, line, target)

    def _advance(self, line: Line) -> None:
        order = getattr(line, "order", None)
        if order is None:
            return
        began, ended = (order, order) if isinstance(order, int) else order
        if not 0 <= began <= ended or ended <= self._order:
            raise ValueError(
                f"order: expected an end after {self._order}, the last one, and a beginning before "
                f"it, not {began} and {ended}"
            )
        self._order = ended

    def _check_object(self, line: ObjectLine) -> None:
        if line.id in self._objects:
            raise ValueError(f"id: {line.id!r:.40} was used before")
        for name in ("id", "link"):
            if len(getattr(line, name)) > MOST_TEXT:
                raise ValueError(f"{name}: expected at most {MOST_TEXT} characters")
        if len(self._objects) >= MOST_OBJECTS:
            raise ValueError(f"expected at most {MOST_OBJECTS} objects")
        self._object("of", line.of)

    def _check_process(self, line: ProcessLine) -> None:
        if line.parent is not None:
            self._require_process("parent", line.parent)
        if len(self._processes) >= MOST_PROCESSES:
            raise ValueError(f"expected at most {MOST_PROCESSES} processes")
        self._processes.add(line.process)

    def _require_process(self, member: str, process: int) -> None:
        if process not in self._processes:
            raise ValueError(f"{member}: no process {process} was before it")

    def _object(self, member: str, name: str | None) -> ObjectLine | None:
        if name is None:
            return None
        try:
            return self._objects[name]
        except KeyError:
            raise ValueError(f"{member}: no object {name!r:.40} was before it") from None

    def _payload(self, member: str, name: str | None) -> bytes | None:
        if name is None:
            return None
        try:
            return self.window[name]
        except KeyError:
            raise ValueError(
                f"{member}: the payload {name!r:.40} was not before it, or too long ago"
            ) from None
