"""One object for all equal states of the model, so that its id tells the state.

Different orders of the same calls often lead to the same state; what follows is then the same, too.
"""

from __future__ import annotations

from types import MappingProxyType, NoneType
from typing import TYPE_CHECKING

from kvmprobe.model.machine import GuestCpuid, Machine

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable

# What is compared at once; anything else has a token.
_PLAIN = frozenset({int, str, bytes, bool, NoneType, frozenset})


class States:
    """The states of one model run so far.

    Equal parts of states have the same token, so that only those that a step has changed are
    looked at.
    """

    def __init__(self) -> None:
        self._tokens: dict[Hashable, object] = {}
        self._seen: dict[int, tuple[object, object]] = {}
        self._machines: dict[object, Machine] = {}

    def same(self, machine: Machine) -> Machine:
        """Return the first of the states that are equal to this one, on the same host."""
        return self._machines.setdefault(self._token(machine), machine)

    def forget(self) -> None:
        """Drop all states."""
        self._tokens.clear()
        self._seen.clear()
        self._machines.clear()

    def _token(self, value: object) -> object:
        seen = self._seen.get(id(value))
        if seen is not None:
            return seen[1]
        token = self._tokens.setdefault(self._content(value), object())
        # The value is kept because its id is the key.
        self._seen[id(value)] = value, token
        return token

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
                return value

    def _parts(self, values: Iterable[object]) -> list[object]:
        return [value if type(value) in _PLAIN else self._token(value) for value in values]
