"""One object for all equal states of the model, so that its id tells the state.

Different orders of the same calls often lead to the same state; what follows is then the same, too.
"""

from __future__ import annotations

from dataclasses import fields
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from kvmprobe.model.fpstate import Fpstate
from kvmprobe.model.machine import GuestCpuid, Machine, Process, Vcpu, Vm
from kvmprobe.model.memory import Region

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

# The host is the same in all states of a model run.
_PARTS: dict[type, Callable[[Any], tuple[Any, ...]]] = {
    kind: attrgetter(*(field.name for field in fields(kind) if field.name != "host"))
    for kind in (Machine, Process, Vm, Region, Vcpu, Fpstate, GuestCpuid)
}


class States:
    """The states of one model run so far.

    Parts of a state are numbered, so that only those that a step has changed are looked at.
    """

    def __init__(self) -> None:
        self._numbers: dict[Hashable, int] = {}
        self._numbered: dict[int, tuple[object, int]] = {}
        self._machines: dict[int, Machine] = {}

    def same(self, machine: Machine) -> Machine:
        """Return the first of the states that are equal to this one."""
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
        if isinstance(value, dict):
            content: Hashable = frozenset((key, self._part(v)) for key, v in value.items())
        else:
            content = (type(value), *map(self._part, _PARTS[type(value)](value)))
        number = self._numbers.setdefault(content, len(self._numbers))
        # The value is kept because its id is the key.
        self._numbered[id(value)] = value, number
        return number

    def _part(self, value: object) -> Hashable:
        kind = type(value)
        return self._number(value) if kind is dict or kind in _PARTS else value
