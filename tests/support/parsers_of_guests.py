"""Parsers of what the guest, its emulator and the worker in it send."""

from __future__ import annotations

import base64
import json
from functools import cache
from pathlib import Path

from kvmprobe.errors import LabError, Unavailable, WorkerError
from kvmprobe.execution.driver import Driver, Request
from kvmprobe.execution.probing import examine
from kvmprobe.lab.machine_events import decode
from kvmprobe.results import console_text
from kvmprobe.scenarios import catalog
from tests.support.fake_link import FakePlace, facts_of
from tests.support.hosts import AMX_HOST
from tests.support.parser import Parser

_GOLDEN = Path(__file__).parents[1] / "golden" / "console"
_MACHINE = [
    b"#phase init",
    b"#module kvm ffffffffc0000000",
    b"#nokvm /dev/kvm: no such file",
    b"#exit 3",
    b"#signal 9",
    b"#coverage " + base64.b64encode(bytes(range(64))),
    b">" + base64.b64encode(b"output"),
    b"!" + base64.b64encode(b"\xff\0"),
    b'{"n": 1, "s": 0, "r": [[0]], "k": []}',
]


def _consoles() -> list[bytes]:
    return [log.read_bytes()[:20_000] for log in sorted(_GOLDEN.glob("*.log"))]


def _read_console(content: bytes, _folder: Path) -> object:
    console = bytearray(content)
    console_text.is_panicking(console, 0)
    console_text.is_complete(console, len(console) // 2)
    text = content.decode("utf-8", "replace")
    return console_text.find_panic(text), console_text.find_reports(text)


def _read_lines(content: bytes, _folder: Path) -> object:
    return [decode(line, 0.0) for line in content.split(b"\n")]


class Replayed:
    """A worker that sends these lines, and nothing after them."""

    def __init__(self, lines: list[str]) -> None:
        self._lines = lines

    def send(self, line: str) -> None:
        """Ignore what is sent."""

    def receive(self, _timeout: float) -> str:
        """Return the next line."""
        if not self._lines:
            raise WorkerError("no more lines")
        return self._lines.pop(0)

    def blocks_reached(self) -> None:
        """Return that no blocks are watched."""


@cache
def _scenario():
    """A scenario of several steps, with outputs."""
    found = catalog.scenarios(AMX_HOST)
    return next(s for s in found if s.id.startswith("restore.") and len(s.steps) > 4)


class _Listening:
    """Keeps what a worker sends."""

    def __init__(self, link) -> None:
        self._link = link
        self.heard: list[str] = []

    def send(self, line: str) -> None:
        self._link.send(line)

    def receive(self, timeout: float) -> str:
        self.heard.append(self._link.receive(timeout))
        return self.heard[-1]

    def blocks_reached(self) -> None:
        return None


def _answers() -> list[bytes]:
    place = FakePlace(AMX_HOST)
    link = _Listening(place.open())
    list(Driver(link, place.timing).traces([Request(_scenario(), 1)], AMX_HOST))
    hang = {
        "end": 0,
        "status": "timeout",
        "deadline": 10.0,
        "microseconds": 10_000_000,
        "taint": 0,
        "k": ["WARNING: CPU: 0"],
        "hang": {
            "overrun": "scenario",
            "tasks": [
                {
                    "pid": 5,
                    "tid": 5,
                    "name": "kvmprobe",
                    "state": "D",
                    "wchan": "kvm_vcpu_block",
                    "syscall": "16 0x3",
                    "stack": ["kvm_vcpu_block"],
                }
            ],
            "unkillable": [],
        },
    }
    broken = {"broken": True, "traceback": "no room"}
    signal = {"end": 0, "status": "signal", "signal": 11, "microseconds": 1, "taint": 0, "k": []}
    return [
        "\n".join(link.heard).encode(),
        *("\n".join([link.heard[0], json.dumps(end)]).encode() for end in (hang, signal)),
        "\n".join([link.heard[0], json.dumps(broken), link.heard[-1]]).encode(),
    ]


def _read_answers(content: bytes, _folder: Path) -> object:
    lines = content.decode("utf-8", "replace").split("\n")
    driver = Driver(Replayed(lines), FakePlace(AMX_HOST).timing)
    return list(driver.traces([Request(_scenario(), 1)], AMX_HOST))


def _facts() -> list[bytes]:
    ready = {"ready": {"pid": 1, "kmsg": "watched", "taint": 0}}
    end = {"end": -1, "status": "done", "code": 0, "microseconds": 1, "taint": 0, "k": []}
    facts = facts_of(AMX_HOST)
    lines = (ready, {"facts": facts}, end)
    return ["\n".join(map(json.dumps, lines)).encode()]


def _read_facts(content: bytes, _folder: Path) -> object:
    lines = content.decode("utf-8", "replace").split("\n")
    return examine(Driver(Replayed(lines), FakePlace(AMX_HOST).timing))


PARSERS = (
    Parser("guest console", _consoles, _read_console, ()),
    Parser("guest lines", lambda: _MACHINE, _read_lines, (LabError,)),
    Parser("worker answers", _answers, _read_answers, (WorkerError,)),
    Parser("worker facts", _facts, _read_facts, (WorkerError, Unavailable)),
)
