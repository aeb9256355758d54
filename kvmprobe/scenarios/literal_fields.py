"""Kinds of op fields for literal input: bytes, CPUID entries, changes of CPUID registers."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from kvmprobe.abi import ioctls
from kvmprobe.abi.numbers import U32_MAX
from kvmprobe.scenarios.op_fields import Choice, Items, Number, Row, Wrong, kind_of, kinds
from kvmprobe.xstate.cpuid import Register

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvmprobe.scenarios.op_fields import Kind
    from kvmprobe.scenarios.ops import Op

_LARGEST_IMAGE = 1 << 16
_MOST_CHANGES = 1024
_U32 = Number(U32_MAX)


@dataclass(frozen=True, slots=True)
class Bytes:
    """From ``least`` to ``most`` bytes; JSON has them in base64."""

    least: int
    most: int

    def load(self, value: object) -> bytes:
        """Return the bytes."""
        if not isinstance(value, str):
            raise Wrong("", f"expected bytes in base64, not {kind_of(value)}")
        if len(value) > self._longest:
            raise Wrong("", f"expected at most {self.most} bytes, not {len(value) // 4 * 3}")
        try:
            content = base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError) as error:
            raise Wrong("", f"not base64: {error}") from error
        if not self.least <= len(content) <= self.most:
            raise Wrong("", f"expected {self._range} bytes, not {len(content)}")
        return content

    def dump(self, value: bytes) -> str:
        """Return the bytes in base64."""
        return base64.b64encode(value).decode()

    def schema(self) -> dict[str, Any]:
        """Return the kind as JSON Schema."""
        return {
            "type": "string",
            "contentEncoding": "base64",
            "pattern": "^[A-Za-z0-9+/]*={0,2}$",
            "minLength": -(-self.least // 3) * 4,
            "maxLength": self._longest,
        }

    @property
    def _longest(self) -> int:
        return -(-self.most // 3) * 4

    @property
    def _range(self) -> str:
        return str(self.least) if self.least == self.most else f"{self.least} to {self.most}"


@dataclass(frozen=True, slots=True)
class SavedBytes(Bytes):
    """Bytes that KVM returned for a guest; a search does not make them up."""


Saved = Annotated[bytes, SavedBytes(0, _LARGEST_IMAGE)]
Image = Annotated[bytes, Bytes(0, _LARGEST_IMAGE)]
SregsBytes = Annotated[bytes, Bytes(ioctls.KVM_SREGS.size, ioctls.KVM_SREGS.size)]
Sregs2Bytes = Annotated[bytes, Bytes(ioctls.KVM_SREGS2.size, ioctls.KVM_SREGS2.size)]


def searched(op_class: type[Op]) -> Mapping[str, Kind]:
    """Return the fields of an op that a search gives values, with their kinds."""
    return {n: kind for n, kind in kinds(op_class).items() if not isinstance(kind, SavedBytes)}


# As struct kvm_cpuid_entry2 has them: leaf, sub-leaf, flags, EAX, EBX, ECX, EDX.
CpuidEntries = Annotated[tuple[tuple[int, ...], ...], Items(Row(*[_U32] * 7))]
# Leaf, sub-leaf, flags, register, the bits that change, and their value.
CpuidChange = tuple[int, int, int, Register, int, int]
CpuidChanges = Annotated[
    tuple[CpuidChange, ...],
    Items(Row(_U32, _U32, _U32, Choice(Register), _U32, _U32), _MOST_CHANGES),
]
