"""What the model expects of one kernel call."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sized

    from kvmprobe.model.freedom import Freedom
    from kvmprobe.model.machine import Machine
    from kvmprobe.model.rule import Rule
    from kvmprobe.xstate.cpuid import CpuidTable, Register


_HASH_DIGITS = 8
_NO_FIELDS: Mapping[str, int] = {}


def _summary(content: bytes) -> str:
    return f"{len(content)} bytes, SHA-256 {sha256(content).hexdigest()[:_HASH_DIGITS]}"


def _count(places: Sized) -> str:
    return f"{len(places)} unspecified"


class Unspecified(NamedTuple):
    """Bits of an image that are legal either way: those in ``bits``, from byte ``offset`` on."""

    offset: int
    bits: bytes
    freedom: Freedom


class ExpectedImage(NamedTuple):
    """An output buffer's content: exact bytes, but for what is unspecified; not one byte more."""

    image: bytes
    unspecified: tuple[Unspecified, ...] = ()

    def __repr__(self) -> str:
        """Return size and hash: an image with tile data is 11 KiB."""
        return f"ExpectedImage({_summary(self.image)}, {_count(self.unspecified)})"


class ExpectedBytes(NamedTuple):
    """Bytes of an output from ``offset`` on: exact, but for what is unspecified.

    The places of ``unspecified`` count from the first of these bytes.
    """

    offset: int
    content: bytes
    unspecified: tuple[Unspecified, ...] = ()

    def __repr__(self) -> str:
        """Return offset, size and hash."""
        shown = f"{self.offset}, {_summary(self.content)}, {_count(self.unspecified)}"
        return f"ExpectedBytes({shown})"


class ExpectedTable(NamedTuple):
    """A CPUID table as an output, entry by entry, but for what is unspecified.

    :ivar unspecified: (leaf, register) that may have any value, in each of the leaf's entries
    :ivar freedom: what leaves them open; None if nothing is
    """

    table: CpuidTable
    unspecified: frozenset[tuple[int, Register]] = frozenset()
    freedom: Freedom | None = None

    def __repr__(self) -> str:
        """Return the number of entries: a table has up to 256."""
        return f"ExpectedTable({len(self.table.entries)} entries, {_count(self.unspecified)})"


class Done(NamedTuple):
    """The call returns ``value``, not negative; its output reads as ``fields`` and ``image``.

    :ivar open_fields: bits of fields that are legal either way
    :ivar freedom: what leaves them open; None if nothing is
    :ivar memory: a part of the output that is no field
    :ivar table: the CPUID table in the output
    """

    value: int = 0
    fields: Mapping[str, int] = _NO_FIELDS
    image: ExpectedImage | None = None
    open_fields: Mapping[str, int] = _NO_FIELDS
    memory: ExpectedBytes | None = None
    table: ExpectedTable | None = None
    freedom: Freedom | None = None


@dataclass(frozen=True, slots=True)
class NewDescriptor:
    """The call returns a descriptor, of any number."""


class Failed(NamedTuple):
    """The call fails with this errno; its output still reads as ``fields``."""

    errno: int
    fields: Mapping[str, int] = _NO_FIELDS


class OneOf(NamedTuple):
    """Each of these is legal; ``freedom`` leaves it open."""

    choices: tuple[Done, ...]
    freedom: Freedom


def one_of(choices: tuple[Done, ...], freedom: Freedom) -> Done | OneOf:
    """Return the only choice, or any of several."""
    return choices[0] if len(choices) == 1 else OneOf(choices, freedom)


class HostDies(NamedTuple):
    """The host does not survive the call.  Only a model with a known defect expects this."""

    reason: str


class NotCovered(NamedTuple):
    """The model has no rule for this result, and judges nothing; checkers look at it.

    :ivar reason: what it has no rule for
    :ivar example: what a kernel may answer that refuses what the model does not know
    """

    reason: str
    example: Done | Failed | OneOf | NewDescriptor = Done()


Outcome = Done | NewDescriptor | Failed | OneOf | HostDies | NotCovered


class Step(NamedTuple):
    """One transition: the state after, what to expect, and the rule that says so."""

    machine: Machine
    outcome: Outcome
    rule: Rule
