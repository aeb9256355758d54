"""Events of an emulated machine, and parsing them from the lines of ``guest/init.c``.  Pure.

Lines that start with ``#``, ``>`` or ``!`` come from init, all others from the program;
``#coverage`` comes from the emulator.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from kvmprobe.errors import LabError

if TYPE_CHECKING:
    from kvmprobe.results.console_text import PanicReport


class Stream(Enum):
    """The program's output streams; the value is the tag of their lines."""

    STDOUT = ">"
    STDERR = "!"


class EndReason(Enum):
    """Why a machine ended."""

    FINISHED = "the program ended and init stopped the machine"
    PANIC = "the kernel panicked"
    HANG = "no output on channel and console"
    STALLED = "the emulator did not run: it was stopped, or got no processor time"
    RESET = "the machine reset: a triple fault, or the program rebooted it"
    EMULATOR_DIED = "the emulator failed"


class BootPhase(Enum):
    """The stages of a boot, as ``guest/init.c`` names them."""

    INIT = "init"
    DISK = "disk"
    MODULES = "modules"
    WAIT = "wait"
    START = "start"


@dataclass(frozen=True, slots=True)
class ChannelLine:
    """A line that the program wrote to the channel, without its newline."""

    text: str


@dataclass(frozen=True, slots=True)
class Phase:
    """A stage of the boot began ``seconds`` of wall time after the emulator started."""

    phase: BootPhase
    seconds: float


@dataclass(frozen=True, slots=True)
class Output:
    """A piece of the program's output."""

    stream: Stream
    content: bytes


@dataclass(frozen=True, slots=True)
class KvmMissing:
    """KVM could not be set up; ``text`` has the failed step and the reason."""

    text: str


@dataclass(frozen=True, slots=True)
class ModuleLoaded:
    """A module of the kernel is loaded.

    :ivar address: linear address of its text
    """

    name: str
    address: int


@dataclass(frozen=True, slots=True)
class ProgramExited:
    """The program ended with an exit status."""

    status: int


@dataclass(frozen=True, slots=True)
class ProgramKilled:
    """The program ended by a signal (number)."""

    signal: int


@dataclass(frozen=True, slots=True)
class Overran:
    """The program's deadline, in time of the machine, has passed; init kills it."""


@dataclass(frozen=True, slots=True)
class BlocksReached:
    """What the kernel reached since the scenario began: a bit for each watched block.

    :ivar bits: block 0 is the lowest bit of the first byte
    """

    bits: bytes


@dataclass(frozen=True, slots=True)
class ConsolePanic:
    """The kernel under test panicked."""

    report: PanicReport


@dataclass(frozen=True, slots=True)
class Ended:
    """The machine has ended: the last event.  ``text`` has the emulator's messages, if any."""

    reason: EndReason
    text: str = ""


GuestEvent = (
    ChannelLine
    | Phase
    | ModuleLoaded
    | Output
    | KvmMissing
    | ProgramExited
    | ProgramKilled
    | Overran
    | BlocksReached
)
Event = GuestEvent | ConsolePanic | Ended
_MODULE = re.compile(r"(\w+) ([0-9a-f]+)")
_PHASES = {phase.value: phase for phase in BootPhase}


def decode(line: bytes, seconds: float) -> GuestEvent:
    """Parse one line of the channel, received ``seconds`` after the start.

    :raises LabError: the guest could not start the program, or the line is malformed
    """
    text = line.decode("utf-8", errors="replace")
    if text[:1] in (">", "!"):
        return Output(Stream(text[0]), _from_base64(text[1:]))
    if not text.startswith("#"):
        return ChannelLine(text)
    return _of_init(*text[1:].split(" ", 1), seconds=seconds)


def _of_init(word: str, rest: str = "", *, seconds: float) -> GuestEvent:
    match word:
        case "phase" if rest in _PHASES:
            return Phase(_PHASES[rest], seconds)
        case "module" if found := _MODULE.fullmatch(rest):
            return ModuleLoaded(found[1], int(found[2], 16))
        case "nokvm":
            return KvmMissing(rest)
        case "exit" | "signal" if rest.isdecimal():
            return (ProgramExited if word == "exit" else ProgramKilled)(int(rest))
        case "overrun":
            return Overran()
        case "coverage":
            return BlocksReached(_from_base64(rest))
        case "failed":
            raise LabError(f"the emulated host could not start the program: {rest}")
        case _:
            raise LabError(
                f"the emulated host sent an unknown message: {word[:200]!r} {rest[:200]!r}"
            )


def _from_base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError as error:  # characters beyond ASCII as well
        raise LabError(f"the emulated host sent invalid base64: {text[:80]!r}") from error
