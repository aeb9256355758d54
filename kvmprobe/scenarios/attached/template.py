"""CPU templates in JSON: modifiers of CPUID registers and MSRs, as Firecracker reads them.

``cpuid_modifiers`` change what KVM supports: ``leaf`` and ``subleaf`` are numbers in strings,
``flags`` a number, and each of ``modifiers`` has a ``register`` and a ``bitmap``: ``0b`` and, from
bit 31 down, ``0``, ``1``, or ``x`` for a bit that stays.  ``msr_modifiers`` have an ``addr`` and a
bitmap of 64 bits; an MSR of which bits stay is left out.  ``kvm_capabilities`` are numbers in
strings, which the VMM requires of KVM_CHECK_EXTENSION; ``!`` before one takes it off the VMM's own
list, for which nothing is called.
Source: docs/cpu_templates/schema.json of Firecracker.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from kvmprobe.abi.numbers import U32_MAX, KvmCap
from kvmprobe.model.literal import uncovered_msr
from kvmprobe.scenarios.attached.parts import Template, Unreadable
from kvmprobe.scenarios.op_fields import kind_of, shown
from kvmprobe.scenarios.ops.msrs import KNOWN_MSRS
from kvmprobe.scenarios.strict_json import Members, parse
from kvmprobe.xstate.cpuid import Register

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kvmprobe.scenarios.literal_fields import CpuidChange

_MEMBERS = ("cpuid_modifiers", "msr_modifiers", "kvm_capabilities")
_OF_ARM = frozenset({"reg_modifiers", "vcpu_features"})
_CPUID_MEMBERS = ("leaf", "subleaf", "flags", "modifiers")
_MOST = 1024
_NUMBER = re.compile(r"0x[0-9a-fA-F]{1,16}|0b[01]{1,64}|[0-9]{1,20}")
_BITMAP = re.compile(r"0b[01x_]+")
_CAPABILITY = re.compile(r"!?[0-9]{1,10}")
_U64_MAX = (1 << 64) - 1


def read_template(content: bytes) -> Template:
    """Return what a template changes.

    :raises ScenarioError: it is not JSON, or not a template; the message begins with the place
    """
    members = _object(parse(content), "$")
    for name in members:
        if name in _OF_ARM:
            raise Unreadable(f"$.{name}", "a template for x86", "a member for Arm")
        if name not in _MEMBERS:
            raise Unreadable(f"$.{name}", f"one of {', '.join(_MEMBERS)}", shown(name))
    if not members:
        raise Unreadable("$", f"at least one of {', '.join(_MEMBERS)}", "an empty object")
    cpuid = _items(members.get("cpuid_modifiers", []), "$.cpuid_modifiers")
    msrs = _items(members.get("msr_modifiers", []), "$.msr_modifiers")
    capabilities = _items(members.get("kvm_capabilities", []), "$.kvm_capabilities")
    values = {path: _msr_modifier(item, path) for item, path in msrs}
    return Template(
        tuple(change for item in cpuid for change in _cpuid_modifier(*item)),
        tuple((index, value) for index, bits, value in values.values() if bits == _U64_MAX),
        tuple(cap for item in capabilities if (cap := _capability(*item)) is not None),
        tuple(
            f"{path}: MSR {index:#x} is not set: bits of it stay, and what it has is not known"
            for path, (index, bits, _) in values.items()
            if bits != _U64_MAX
        ),
    )


def template_text(changes: Iterable[CpuidChange]) -> str:
    """Return a template that makes these changes of CPUID; :func:`read_template` reads it."""
    entries: dict[tuple[int, int, int], list[dict[str, str]]] = {}
    for leaf, subleaf, flags, register, bits, value in changes:
        modifier = {"register": register.value, "bitmap": _written_bitmap(bits, value)}
        entries.setdefault((leaf, subleaf, flags), []).append(modifier)
    modifiers = [
        {"leaf": hex(leaf), "subleaf": hex(subleaf), "flags": flags, "modifiers": of_entry}
        for (leaf, subleaf, flags), of_entry in entries.items()
    ]
    return json.dumps({"cpuid_modifiers": modifiers}, indent=1) + "\n"


def _written_bitmap(bits: int, value: int) -> str:
    digits = (str(value >> at & 1) if bits >> at & 1 else "x" for at in reversed(range(32)))
    return f"0b{''.join(digits)}"


def _cpuid_modifier(value: object, path: str) -> list[CpuidChange]:
    members = _exactly(value, path, _CPUID_MEMBERS)
    leaf, subleaf = (
        _number(members[name], f"{path}.{name}", U32_MAX) for name in ("leaf", "subleaf")
    )
    flags = members["flags"]
    if isinstance(flags, bool) or not isinstance(flags, int) or not 0 <= flags <= U32_MAX:
        raise Unreadable(f"{path}.flags", "a number from 0 to 4294967295", _found(flags))
    found: list[CpuidChange] = []
    for modifier, place in _items(members["modifiers"], f"{path}.modifiers"):
        one = _exactly(modifier, place, ("register", "bitmap"))
        register = one["register"]
        if register not in list(Register):
            raise Unreadable(f"{place}.register", "eax, ebx, ecx or edx", _found(register))
        bits, set_bits = _bitmap(one["bitmap"], f"{place}.bitmap", 32)
        found.append((leaf, subleaf, flags, Register(register), bits, set_bits))
    return found


def _msr_modifier(value: object, path: str) -> tuple[int, int, int]:
    """Return its index, the bits that change, and those of them that are set."""
    members = _exactly(value, path, ("addr", "bitmap"))
    index = _number(members["addr"], f"{path}.addr", U32_MAX)
    bits, set_bits = _bitmap(members["bitmap"], f"{path}.bitmap", 64)
    if index not in KNOWN_MSRS and (why := uncovered_msr(index, set_bits)):
        raise Unreadable(f"{path}.addr", "an MSR that can be set here", why)
    return index, bits, set_bits


def _capability(value: object, path: str) -> KvmCap | None:
    """Return the capability that is required; None for one that is not."""
    if not isinstance(value, str) or not _CAPABILITY.fullmatch(value):
        raise Unreadable(path, 'a number in a string, perhaps after "!"', _found(value))
    number = int(value.removeprefix("!"))
    if value.startswith("!"):
        return None
    if number not in set(KvmCap):
        known = ", ".join(f"{cap.value} ({cap.name})" for cap in KvmCap)
        raise Unreadable(path, f"a capability that the model knows: {known}", f"{number}")
    return KvmCap(number)


def _number(value: object, path: str, largest: int) -> int:
    if not isinstance(value, str) or not _NUMBER.fullmatch(value):
        raise Unreadable(path, 'a number in a string, such as "0x7"', _found(value))
    number = int(value, 0) if value.startswith(("0x", "0b")) else int(value)
    if number > largest:
        raise Unreadable(path, f"at most {largest:#x}", shown(value))
    return number


def _bitmap(value: object, path: str, width: int) -> tuple[int, int]:
    """Return the bits that change, and those of them that are set."""
    expected = f'"0b" and 1 to {width} of 0, 1 and x'
    if not isinstance(value, str) or not _BITMAP.fullmatch(value):
        raise Unreadable(path, expected, _found(value))
    digits = value.removeprefix("0b").replace("_", "")
    if not 0 < len(digits) <= width:
        raise Unreadable(path, expected, f"{len(digits)}")
    changing = digits.replace("0", "1").replace("x", "0")
    return int(changing, 2), int(digits.replace("x", "0"), 2)


def _exactly(value: object, path: str, names: tuple[str, ...]) -> dict[str, Any]:
    members = _object(value, path)
    for name in members:
        if name not in names:
            raise Unreadable(f"{path}.{name}", f"one of {', '.join(names)}", shown(name))
    missing = [name for name in names if name not in members]
    if missing:
        raise Unreadable(path, f"the members {', '.join(names)}", f"no {', '.join(missing)}")
    return members


def _object(value: object, path: str) -> dict[str, Any]:
    if not isinstance(value, Members):
        raise Unreadable(path, "an object", _found(value))
    members: dict[str, Any] = {}
    for name, member in value.pairs:
        if name in members:
            raise Unreadable(path, f"{shown(name)} once", "it twice")
        members[name] = member
    return members


def _items(value: object, path: str) -> list[tuple[object, str]]:
    if not isinstance(value, list):
        raise Unreadable(path, "a list", _found(value))
    if len(value) > _MOST:
        raise Unreadable(path, f"at most {_MOST} items", f"{len(value)}")
    return [(item, f"{path}[{place}]") for place, item in enumerate(value)]


def _found(value: object) -> str:
    return shown(value) if isinstance(value, str) else kind_of(value)
