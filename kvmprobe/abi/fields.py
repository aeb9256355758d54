"""Named values in the structures that KVM reads and writes, each declared once.  Layer: abi, pure.

The kind says how a value is shown: a report, the HTML page and a C program ask :func:`kind_of`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from kvmprobe.abi.numbers import Msr

if TYPE_CHECKING:
    from collections.abc import Mapping


class FieldKind(Enum):
    """How a value is shown."""

    BITMAP = "bitmap"
    """A set of state components: hexadecimal, with their names."""
    HEX = "hexadecimal"
    """A register, an address, flags."""
    COUNT = "count"
    """A number of bytes or entries, a single bit: decimal."""
    EXIT_REASON = "exit reason"
    """``kvm_run.exit_reason``, by its KVM_EXIT_* name."""
    VECTOR = "vector"
    """An exception, by its mnemonic."""


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


def _consecutive(names: str, kind: FieldKind = FieldKind.HEX) -> Fields:
    """Return 64-bit fields that follow each other from offset 0."""
    return tuple(Field(name, 8 * place, 8, kind) for place, name in enumerate(names.split()))


XSTATE_BV = Field("XSTATE_BV", 512, 8, _BITMAP)
XSAVE_HEADER: Fields = (XSTATE_BV, Field("XCOMP_BV", 520, 8, _BITMAP))
"""Of an XSAVE area (SDM vol.1 §13.4.2 "XSAVE Header"), and so of ``struct kvm_xsave``."""

KVM_FPU: Fields = (Field("FCW", 128, 2),)
"""``struct kvm_fpu``."""

KVM_RUN: Fields = (
    Field("exit_reason", 0, 4, FieldKind.EXIT_REASON),
    Field("hardware_entry_failure_reason", 24, 8),
)
"""``struct kvm_run`` from ``exit_reason`` on; the second is valid with KVM_EXIT_FAIL_ENTRY."""

KVM_REGS: Fields = _consecutive(
    "rax rbx rcx rdx rsi rdi rsp rbp r8 r9 r10 r11 r12 r13 r14 r15 rip rflags"
)
"""``struct kvm_regs``."""

KVM_SREGS: Fields = (
    Field("cs_base", 0, 8),
    Field("cs_selector", 12, 2),
    Field("cr0", 224, 8),
    Field("cr2", 232, 8),
    Field("cr3", 240, 8),
    Field("cr4", 248, 8),
    Field("efer", 264, 8),
)
"""What ``struct kvm_sregs`` and ``struct kvm_sregs2`` have at the same place."""

KVM_VCPU_EVENTS: Fields = (
    Field("exception", 0, 8),
    Field("interrupt", 8, 4),
    Field("nmi", 12, 4),
    Field("sipi_vector", 16, 4),
    Field("flags", 20, 4),
    Field("smi", 24, 4),
    Field("triple_fault", 28, 1, _COUNT),
)
"""``struct kvm_vcpu_events``; the first four structures as one number each."""

KVM_MP_STATE: Fields = (Field("mp_state", 0, 4, _COUNT),)
"""``struct kvm_mp_state``."""

KVM_DEBUGREGS: Fields = _consecutive("db0 db1 db2 db3 dr6 dr7 flags")
"""``struct kvm_debugregs``."""

KVM_LAPIC: Fields = (
    Field("id", 0x20, 4),
    Field("tpr", 0x80, 4),
    Field("dfr", 0xE0, 4),
    Field("svr", 0xF0, 4),
)
"""``struct kvm_lapic_state`` (SDM vol.3, local APIC register address map)."""

_STRUCTS = (
    XSAVE_HEADER,
    KVM_FPU,
    KVM_RUN,
    KVM_REGS,
    KVM_SREGS,
    KVM_VCPU_EVENTS,
    KVM_MP_STATE,
    KVM_DEBUGREGS,
    KVM_LAPIC,
)
# Values that are searched for in a list, or that no structure has.
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
    **{field.name: field.kind for struct in _STRUCTS for field in struct},
    **_SEARCHED,
}
BITMAP_MSRS = frozenset({Msr.IA32_XFD, Msr.IA32_XFD_ERR, Msr.IA32_XSS})


def places(fields: Fields) -> dict[str, tuple[int, str]]:
    """Return offset and :mod:`struct` format of each field, by name."""
    return {field.name: (field.offset, field.code) for field in fields}


def kind_of(name: str) -> FieldKind:
    """Return the kind of a named value; a name that is not listed is an MSR, and hexadecimal."""
    return _KINDS.get(name, FieldKind.HEX)
