"""One object for all equal states of the model, so that its id tells the state.

Different orders of the same calls often lead to the same state; what follows is then the same, too.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from kvmprobe.model.fpstate import Fpstate
from kvmprobe.model.machine import GuestCpuid, Machine, Process, Vcpu, Vm

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable

_TUPLES = frozenset({Machine, Process, Vm, Vcpu, Fpstate})
_MAPPINGS = frozenset({dict, MappingProxyType})
# What has parts of its own, or takes long to hash.
_NUMBERED = _TUPLES | _MAPPINGS | {GuestCpuid}


class States:
    """The states of one model run so far.

    Parts of a state are numbered, so that only those that a step has changed are looked at.
    """

    def __init__(self) -> None:
        self._numbers: dict[Hashable, int] = {}
        self._numbered: dict[int, tuple[object, int]] = {}
        self._machines: dict[int, Machine] = {}

    def same(self, machine: Machine) -> Machine:
        """Return the first of the states that are equal to this one, on the same host."""
        return self._machines.setdefault(self._number(machine), machine)

    def forget(self) -> None:
        """Drop all states."""
        self._numbers.clear()
        self._numbered.clear()
        self._machines.clear()

    def _number(self, value: object) -> int:
        known = self._numbered.get(id(value))
        if known is not None:
            return known[1]
        number = self._numbers.setdefault(self._content(value), len(self._numbers))
        # The value is kept because its id is the key.
        self._numbered[id(value)] = value, number
        return number

    def _content(self, value: object) -> Hashable:
        match value:
            case dict() | MappingProxyType():
                return frozenset(zip(value, self._parts(value.values()), strict=True))
            case GuestCpuid():
                return value, value.unspecified
            case Machine(host=host):
                return id(host), *self._parts(value[1:])
            case tuple():
                return type(value), *self._parts(value)
            case _:
                raise TypeError(f"no part of a state: {value!r:.100}")

    def _parts(self, values: Iterable[object]) -> list[Hashable]:
        return [self._number(value) if type(value) in _NUMBERED else value for value in values]
