"""Named values that are no member of a structure, and how each value is shown.  Layer: abi, pure.

The layout of an ioctl's argument has its members (:mod:`abi.ioctls`).  Reports, the HTML page and
C programs call :func:`kind_of`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmprobe.abi import ioctls
from kvmprobe.abi.layout import FieldKind
from kvmprobe.abi.numbers import Msr

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Field:
    """One value of a structure.

    :ivar offset: its first byte
    :ivar width: in bytes; little-endian, unsigned
    """

    name: str
    offset: int
    width: int
    kind: FieldKind = FieldKind.HEX

    @property
    def code(self) -> str:
        """The format character of :mod:`struct`."""
        return _CODES[self.width]


Fields = tuple[Field, ...]
_CODES = {1: "B", 2: "H", 4: "I", 8: "Q"}
_BITMAP, _COUNT = FieldKind.BITMAP, FieldKind.COUNT


XSTATE_BV = Field("XSTATE_BV", 512, 8, _BITMAP)
XSAVE_HEADER: Fields = (XSTATE_BV, Field("XCOMP_BV", 520, 8, _BITMAP))
"""Of an XSAVE area (SDM vol.1 §13.4.2 "XSAVE Header"), and so of ``struct kvm_xsave``."""

KVM_RUN: Fields = (
    Field("exit_reason", 0, 4, FieldKind.EXIT_REASON),
    Field("hardware_entry_failure_reason", 24, 8),
)
"""``struct kvm_run`` from ``exit_reason`` on; the second is valid with KVM_EXIT_FAIL_ENTRY."""


VCPU_EVENTS: Mapping[str, tuple[int, str]] = {
    name: place
    for name, place in ioctls.KVM_VCPU_EVENTS.numbers.items()
    if name not in {"exception_has_payload", "exception_payload"}
}
"""``struct kvm_vcpu_events`` without what is valid only with KVM_CAP_EXCEPTION_PAYLOAD."""


def _of_run_area() -> dict[str, tuple[int, str]]:
    head, registers = ioctls.KVM_RUN_HEAD, ioctls.KVM_SYNC_REGS
    start = head.offset("exit_reason")
    found = head.places("exit_reason", "cr8", "kvm_valid_regs", "kvm_dirty_regs")
    inner = {
        "regs": ioctls.KVM_REGS.places(),
        "sregs": ioctls.KVM_SREGS.places("cr0", "cr4", "efer"),
        "events": VCPU_EVENTS,
    }
    for part, places_within in inner.items():
        shift = head.size + registers.offset(part)
        found |= {name: (shift + at, code) for name, (at, code) in places_within.items()}
    return {name: (at - start, code) for name, (at, code) in found.items()}


RUN_AREA: Mapping[str, tuple[int, str]] = _of_run_area()
"""``struct kvm_run`` from ``exit_reason`` on, with the registers of KVM_CAP_SYNC_REGS."""
RUN_AREA_SIZE = (
    ioctls.KVM_RUN_HEAD.size + ioctls.KVM_SYNC_REGS.size - ioctls.KVM_RUN_HEAD.offset("exit_reason")
)

KVM_LAPIC: Fields = (
    Field("id", 0x20, 4),
    Field("tpr", 0x80, 4),
    Field("dfr", 0xE0, 4),
    Field("svr", 0xF0, 4),
)
"""``struct kvm_lapic_state`` (SDM vol.3, local APIC register address map)."""

# Values that an op finds in a list, or that no structure has.
_SEARCHED: Mapping[str, FieldKind] = {
    "XCR0": _BITMAP,
    "XFD": _BITMAP,
    "XFD_ERR": _BITMAP,
    "XSS": _BITMAP,
    "XCOMP": _BITMAP,
    "XCOMP_GUEST_SUPP": _BITMAP,
    "0xD.0:EDX:EAX": _BITMAP,
    "0xD.0:EBX": _COUNT,
    "0xD.0:ECX": _COUNT,
    "0xD.1:EBX": _COUNT,
    "1:ECX.OSXSAVE": _COUNT,
    "nent": _COUNT,
    "n": _COUNT,
    "entries": _COUNT,
    "entries of leaves 0xD, 0x1D, 0x1E": _COUNT,
    **{f"IA32_{name} listed": _COUNT for name in ("XFD", "XFD_ERR", "XSS")},
    "vector": FieldKind.VECTOR,
    # The model's state, as `kvmprobe explain` shows its changes.
    **dict.fromkeys(
        [
            "host_perm",
            "guest_perm",
            "user_xfeatures",
            "guest_xcr0",
            "guest_xss",
            "xcr0",
            "xss",
            "xfd",
            "xfd_err",
        ],
        _BITMAP,
    ),
    "xstate_bv": _BITMAP,
    "xstate_bv_open": _BITMAP,
    "uabi_size": _COUNT,
}
_KINDS: Mapping[str, FieldKind] = {
    **{field.name: field.kind for field in (*XSAVE_HEADER, *KVM_RUN, *KVM_LAPIC)},
    **{
        name: kind
        for spec in ioctls.ALL
        if spec.argument
        for name, kind in spec.argument.kinds.items()
    },
    **_SEARCHED,
}
BITMAP_MSRS = frozenset({Msr.IA32_XFD, Msr.IA32_XFD_ERR, Msr.IA32_XSS})


def places(fields: Fields) -> dict[str, tuple[int, str]]:
    """Return offset and :mod:`struct` format of each field, by name."""
    return {field.name: (field.offset, field.code) for field in fields}


def kind_of(name: str) -> FieldKind:
    """Return the kind of a named value; a name that is not listed is an MSR, and hexadecimal."""
    return _KINDS.get(name, FieldKind.HEX)
