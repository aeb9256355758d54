"""Random values of op fields: those of the catalogue, or made up from what the model knows.

The second kind takes no hint from scenarios that people wrote: only the host's profile, the state
that the model is in, and the limits of each field.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

from kvmprobe.abi.ioctls import Descriptor
from kvmprobe.abi.numbers import Msr
from kvmprobe.model.one_reg import msr_id
from kvmprobe.scenarios import catalog
from kvmprobe.scenarios.calls import KVM, VCPU, VM
from kvmprobe.scenarios.literal_fields import Bytes
from kvmprobe.scenarios.op_fields import (
    Choice,
    Items,
    Members,
    Number,
    Row,
    Text,
    TextOrNone,
    kinds,
)
from kvmprobe.xstate.features import AVX512, DYNAMIC, FPSSE, MPX, SSE_YMM, XTILE, numbers

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from random import Random

    from kvmprobe.model.host import HostProfile
    from kvmprobe.model.machine import Machine
    from kvmprobe.scenarios.op_fields import Kind

TASKS = ("task0", "task1", "task2")
VCPUS = (VCPU, "vcpu1", "vcpu2")
_DESCRIPTORS = {
    Descriptor.KVM: (KVM,),
    Descriptor.VM: (VM, "vm1"),
    Descriptor.VCPU: VCPUS,
}
_CATALOGUE_VALUE, _OWN_CALL, _USUAL_NAME, _MEANT = 0.7, 0.85, 0.9, 0.85
# Components of which one is legal in XCR0 only with the others: SDM vol.1 §13.3 "Enabling the XSAVE
# Feature Set".
_TOGETHER = ((AVX512, AVX512 | SSE_YMM), (SSE_YMM & ~FPSSE, SSE_YMM), (XTILE, XTILE), (MPX, MPX))
_TOGETHER_USUALLY = 0.65
_COMPACTED = 1 << 63
_SIZES = (0, 1, 512, 576, 832, 4095, 4096, 4097)


class Values(Protocol):
    """Gives fields their values."""

    def value(self, op: str, field: str, kind: Kind, machine: Machine) -> Any:  # noqa: ANN401
        """Return a value of an op's field, for a call in this state."""


def made_up(kind: Kind, random: Random) -> Any:  # noqa: ANN401 - any field's
    """Return any value that a field may have."""
    match kind:
        case Number(largest):
            return _number(largest, random)
        case Choice():
            return random.choice(kind.members)
        case Row():
            return tuple(made_up(item, random) for item in kind.kinds)
        case Members():
            name, width = random.choice(list(kind.widths.items()))
            return random.choice(((), ((name, made_up(width, random)),)))
        case Items():
            length = random.choice((0, 1, 1, 2, 3, 5, 17, 257))
            return tuple(made_up(kind.item, random) for _ in range(length))
        case Bytes(least, most):
            return random.randbytes(random.choice((least, most)))
        case _:
            raise TypeError(f"no random value of {kind}")


def _number(largest: int, random: Random) -> int:
    bits = largest.bit_length()
    match random.randrange(4):
        case 0:
            return random.choice((0, 1, largest, largest - 1, largest // 2))
        case 1:
            return 1 << random.randrange(bits)
        case 2:
            return random.randrange(min(largest + 1, 1 << 20))
        case _:
            return random.randrange(largest + 1)


def _name(op: str, field: str, kind: Kind, machine: Machine, random: Random) -> str:
    if isinstance(kind, TextOrNone):
        return "" if random.random() < _OWN_CALL else random.choice(TASKS)
    match field:
        case "task":
            return random.choice(TASKS)
        case "vm":
            return random.choice(_DESCRIPTORS[Descriptor.VM])
        case "on":
            return random.choice(tuple(n for names in _DESCRIPTORS.values() for n in names))
        case _:
            return _vcpu(op, machine, random)


def _vcpu(op: str, machine: Machine, random: Random) -> str:
    """Return the name of a vCPU that is there, for a new one mostly a name that is free."""
    fit = [name for name in VCPUS if (name in machine.vcpus) is not (op == "create-vcpu")]
    return random.choice(fit if fit and random.random() < _USUAL_NAME else VCPUS)


class CatalogueValues:
    """Values that the catalogue has for the same field, or any others."""

    def __init__(self, host: HostProfile, random: Random) -> None:
        self._random = random
        self._known = catalogue_values(host)

    def value(self, op: str, field: str, kind: Kind, machine: Machine) -> Any:  # noqa: ANN401
        """Return a value of an op's field."""
        known = self._known.get((op, field), ())
        match kind:
            case Text() | TextOrNone():
                return _name(op, field, kind, machine, self._random)
            case _ if known and self._random.random() < _CATALOGUE_VALUE:
                return self._random.choice(known)
            case _:
                return made_up(kind, self._random)


@cache
def catalogue_values(host: HostProfile) -> Mapping[tuple[str, str], Sequence[Any]]:
    """Return the values of each op's fields in the catalogue of a host."""
    found: dict[tuple[str, str], dict[Any, None]] = {}
    for op in dict.fromkeys(op for s in catalog.scenarios(host) for _, op in s.ops()):
        for field in kinds(type(op)):
            found.setdefault((op.name, field), {})[getattr(op, field)] = None
    return {place: tuple(values) for place, values in found.items()}


class ModelValues:
    """Values made up from the host's layout and the model's state: legal, and nearly legal."""

    def __init__(self, host: HostProfile, random: Random) -> None:
        self._host = host
        self._random = random
        self._msrs = sorted(host.msrs)
        components = self._bitmap
        self._by_field: Mapping[str, Callable[[Machine], int]] = {
            "xstate_bv": components,
            "rfbm": components,
            "xcomp_bv": lambda m: random.choice((0, _COMPACTED | components(m))),
            "xcr0": self._xcr0,
            "xfd": self._dynamic,
            "xfd_err": self._dynamic,
            "feature_nr": lambda _: self._component(),
            "index": self._index,
            "register_id": lambda m: msr_id(self._index(m)),
            "mxcsr": lambda _: random.choice((0x1F80, self._bits(host.mxcsr_mask))),
            "cr4": lambda _: self._bits(0x84_0620),
            "leaf": lambda _: random.choice(host.supported.entries).leaf,
            "flags": lambda _: 0,
            "id": lambda m: random.choice((0, len(m.vcpus), len(m.vcpus))),
            "size": lambda m: random.choice((*_SIZES, self._image_size(m))),
        }

    def value(self, op: str, field: str, kind: Kind, machine: Machine) -> Any:  # noqa: ANN401
        """Return a value of an op's field, for a call in this state."""
        random = self._random
        if isinstance(kind, Text | TextOrNone):
            usual = {"task": TASKS[0], "vm": VM} if random.random() < _USUAL_NAME else {}
            return usual.get(field) or _name(op, field, kind, machine, random)
        if random.random() >= _MEANT:
            return made_up(kind, random)
        if isinstance(kind, Number) and field in self._by_field:
            return min(self._by_field[field](machine), kind.largest)
        if field in {"entries", "indices"} and isinstance(kind, Items):
            return self._entries(op, field, machine)
        if field == "value" and isinstance(kind, Number):
            return min(self._msr_value(random.choice(self._special), machine), kind.largest)
        return made_up(kind, random)

    @property
    def _special(self) -> tuple[int, ...]:
        """MSRs that the host's KVM lists and that belong to XSTATE."""
        own = (Msr.IA32_XFD, Msr.IA32_XFD_ERR, Msr.IA32_XSS)
        return tuple(msr for msr in own if msr in self._host.msrs) or (Msr.IA32_XSS,)

    def _entries(self, op: str, field: str, machine: Machine) -> tuple[Any, ...]:
        count = self._random.choice((1, 1, 1, 2, 3))
        if "xcrs" in op:
            return tuple((0, self._xcr0(machine)) for _ in range(count))
        indices = [self._index(machine) for _ in range(count)]
        if field == "indices":
            return tuple(indices)
        return tuple((index, self._msr_value(index, machine)) for index in indices)

    def _index(self, machine: Machine) -> int:  # noqa: ARG002 - as the others
        known = self._special if self._random.random() < 0.5 else self._msrs
        return self._random.choice(known or (0,))

    def _msr_value(self, index: int, machine: Machine) -> int:
        match index:
            case Msr.IA32_XFD | Msr.IA32_XFD_ERR:
                return self._dynamic(machine)
            case Msr.IA32_XSS:
                return self._near(self._bits(self._host.kvm_xss))
            case _:
                return self._random.choice((0, 0, 1, _number((1 << 64) - 1, self._random)))

    def _bits(self, bitmap: int) -> int:
        """Return none, all, one, or any of the bits."""
        match self._random.randrange(4):
            case 0:
                return 0
            case 1:
                return bitmap
            case 2:
                return 1 << self._random.choice(numbers(bitmap)) if bitmap else 0
            case _:
                return bitmap & self._random.getrandbits(64)

    def _near(self, value: int) -> int:
        """Return the value, or one that differs in a bit."""
        return value ^ (1 << self._random.randrange(20) if self._random.random() < 0.15 else 0)

    def _bitmap(self, machine: Machine) -> int:
        """Return components: of the host, or those that a vCPU's memory has now."""
        now = [vcpu.fpstate.xstate_bv for vcpu in machine.vcpus.values()]
        known = self._host.layout.bitmap | FPSSE
        chosen = self._random.choice(now) if now and self._random.random() < 0.2 else None
        return self._near(self._bits(known) if chosen is None else chosen)

    def _xcr0(self, machine: Machine) -> int:
        now = [vcpu.xcr0 for vcpu in machine.vcpus.values()]
        if now and self._random.random() < 0.2:
            return self._near(self._random.choice(now))
        value = self._bits(self._host.kvm_xcr0) | 1
        for group, needed in _TOGETHER:
            if value & group and self._random.random() < _TOGETHER_USUALLY:
                value |= needed & self._host.kvm_xcr0
        return self._near(value)

    def _dynamic(self, machine: Machine) -> int:  # noqa: ARG002 - as the others
        return self._near(self._random.choice((0, self._host.kvm_xcr0 & DYNAMIC)))

    def _component(self) -> int:
        own = numbers(self._host.kvm_xcr0 & DYNAMIC)
        return self._random.choice(own if own and self._random.random() < 0.7 else range(64))

    def _image_size(self, machine: Machine) -> int:
        sizes = [vcpu.fpstate.uabi_size for vcpu in machine.vcpus.values()] or [4096]
        return self._random.choice(sizes) + self._random.choice((-1, 0, 1))
