"""The file of a saved guest: what its VMM read of the vCPU, and what the guest had.

One JSON object, independent of the host.  Bytes are payloads as in a recording
(:mod:`recordings.payloads`): size, SHA-256, zlib, base64.  Docstrings are the descriptions of the
schema.  The guest's memory is not in it: it is that of the guest payload, which holds nothing
between two commands.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping  # noqa: TC003 - the codec reads annotations
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kvmprobe.abi import ioctls
from kvmprobe.abi.numbers import Msr
from kvmprobe.abi.tables import CPUID2
from kvmprobe.errors import LayoutError, ScenarioError
from kvmprobe.model.guest_migration import Part
from kvmprobe.moves.guests import Use
from kvmprobe.native.payload_image import payload_code
from kvmprobe.recordings.lines import PayloadLine  # noqa: TC001
from kvmprobe.recordings.payloads import unpack
from kvmprobe.results.codec import Schema, coder, from_json, hexadecimal, to_json, wrong
from kvmprobe.results.record import Target  # noqa: TC001
from kvmprobe.results.schema import refusal
from kvmprobe.scenarios.strict_json import MOST_BYTES, parse, plain
from kvmprobe.vmm.findings import Piece  # noqa: TC001
from kvmprobe.xstate.cpuid import LEAF_XSTATE, CpuidTable
from kvmprobe.xstate.features import FPSSE, numbers
from kvmprobe.xstate.image import xstate_bv_of
from kvmprobe.xstate.layout import KVM_XSAVE_SIZE

if TYPE_CHECKING:
    from kvmprobe.vmm.pieces import Value

SCHEMA = "kvmprobe-guest/1"
_SIZES = {
    Part.REGS: ioctls.GET_REGS.size,
    Part.SREGS: ioctls.GET_SREGS.size,
    Part.XCRS: ioctls.GET_XCRS.size,
    Part.EVENTS: ioctls.GET_VCPU_EVENTS.size,
    Part.DEBUGREGS: ioctls.GET_DEBUGREGS.size,
}


@dataclass(frozen=True, slots=True)
class Had:
    """A piece of the state that the guest had.

    :ivar value: of a register 8 bytes, of a component its content (PKRU: 8 bytes)
    """

    piece: Piece
    value: PayloadLine


@dataclass(frozen=True, slots=True)
class SavedGuest:
    """A guest of the payload, between two commands.

    :ivar tool: the kvmprobe that saved it
    :ivar source: the kernel that it was saved on
    :ivar processor: its processor
    :ivar order: name of the order in which it was saved
    :ivar use: what it does with its state
    :ivar payload: SHA-256 of the payload's code
    :ivar cpuid: struct kvm_cpuid2
    :ivar parts: what the GET ioctls returned: regs, sregs, xcrs, xsave, events, debugregs
    :ivar msrs: values by index
    :ivar had: its state when it was saved, as the model has it; to check itself
    :ivar ssp: KVM_REG_GUEST_SSP, if the order reads it
    """

    tool: str
    source: Target
    processor: str
    order: str
    use: Use
    payload: str
    cpuid: PayloadLine
    parts: Mapping[str, PayloadLine]
    msrs: Mapping[str, int]
    had: tuple[Had, ...]
    ssp: int | None = None

    @property
    def table(self) -> CpuidTable:
        """The guest's CPUID."""
        return CpuidTable.from_bytes(unpack(self.cpuid))

    def part(self, part: Part) -> bytes | None:
        """Return what GET returned of a part; None if it was not saved."""
        line = self.parts.get(part)
        return None if line is None else unpack(line)

    @property
    def armed(self) -> bool:
        """True if XFD was armed."""
        return self.use in {Use.ARMED, Use.IN_NM}

    @property
    def values(self) -> Mapping[int, int]:
        """The MSRs by number."""
        return {int(index, 16): value for index, value in self.msrs.items()}

    @property
    def pieces(self) -> Mapping[Piece, bytes]:
        """What the guest had."""
        return {one.piece: unpack(one.value) for one in self.had}


def as_bytes(value: Value) -> bytes:
    """Return a piece's value as the file has it."""
    return value if isinstance(value, bytes) else value.to_bytes(8, "little")


def payload_hash() -> str:
    """Return the SHA-256 of this kvmprobe's guest payload."""
    return hashlib.sha256(payload_code()).hexdigest()


def guest_schema() -> Schema:
    """Return the JSON Schema of the file."""
    described = coder(SavedGuest).schema
    members = {"schema": {"const": SCHEMA}, **described["properties"]}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": SCHEMA,
        **described,
        "properties": members,
        "required": ["schema", *described["required"]],
    }


def to_text(guest: SavedGuest) -> str:
    """Return the file's text."""
    return json.dumps({"schema": SCHEMA, **to_json(SavedGuest, guest)}, indent=1) + "\n"


def from_bytes(content: bytes) -> SavedGuest:
    """Return the guest in a file.

    :raises ScenarioError: it is no such file, is damaged, or says more than it holds; the message
        begins with the place
    """
    if len(content) > MOST_BYTES:
        raise ScenarioError(f"more than {MOST_BYTES} bytes: no saved guest")
    document: Any = plain(parse(content), "$")
    schema = document.pop("schema", None) if isinstance(document, dict) else None
    if schema != SCHEMA:
        raise wrong("$.schema", f"no saved guest: {refusal(schema, SCHEMA)}")
    guest = from_json(SavedGuest, document)
    _check_payloads(guest)
    if guest.payload != payload_hash():
        raise wrong("$.payload", f"saved with another guest payload, that of {guest.tool:.60}")
    _check_cpuid(guest)
    _check_parts(guest)
    for index in guest.msrs:
        if hexadecimal(index, f"$.msrs.{index:.20}") not in set(Msr):
            raise wrong(f"$.msrs.{index:.20}", "no MSR that the model knows")
    return guest


def _check_payloads(guest: SavedGuest) -> None:
    lines = {
        "$.cpuid": guest.cpuid,
        **{f"$.parts.{name:.20}": line for name, line in guest.parts.items()},
        **{f"$.had[{place}].value": one.value for place, one in enumerate(guest.had)},
    }
    for path, line in lines.items():
        try:
            unpack(line)
        except ValueError as error:
            raise wrong(path, f"damaged: {error}") from None


def _check_cpuid(guest: SavedGuest) -> None:
    content = unpack(guest.cpuid)
    try:
        table = CpuidTable.from_bytes(content)
    except LayoutError as error:
        raise wrong("$.cpuid", str(error)) from None
    if len(content) != CPUID2.offset(len(table.entries)):
        raise wrong("$.cpuid", f"{len(content)} bytes for {len(table.entries)} entries")


def _check_parts(guest: SavedGuest) -> None:
    for name in guest.parts:
        path = f"$.parts.{name:.20}"
        if name != Part.XSAVE and name not in _SIZES:
            raise wrong(path, f"expected one of {', '.join([*_SIZES, Part.XSAVE])}")
        size = len(guest.part(Part(name)) or b"")
        if name != Part.XSAVE and size != _SIZES[Part(name)]:
            raise wrong(path, f"expected {_SIZES[Part(name)]} bytes, not {size}")
    if missing := [part for part in (Part.REGS, Part.SREGS) if part not in guest.parts]:
        raise wrong("$.parts", f"{missing[0].value!r} is missing")
    if image := guest.part(Part.XSAVE):
        _check_image(image, guest.table)


def _check_image(image: bytes, table: CpuidTable) -> None:
    if len(image) < KVM_XSAVE_SIZE:
        raise wrong("$.parts.xsave", f"expected at least {KVM_XSAVE_SIZE} bytes, not {len(image)}")
    for nr in numbers(xstate_bv_of(image) & ~FPSSE):
        entry = table.find(LEAF_XSTATE, nr)
        end = entry.ebx + entry.eax if entry else None
        if end is None or end > len(image):
            where = "which $.cpuid lacks" if end is None else f"which ends at {end}"
            raise wrong(
                "$.parts.xsave", f"{len(image)} bytes, and XSTATE_BV has component {nr}, {where}"
            )
