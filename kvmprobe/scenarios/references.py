"""The names that calls refer to: an earlier call must have bound each of them."""

from __future__ import annotations

from kvmprobe.abi import limits
from kvmprobe.errors import ScenarioError
from kvmprobe.scenarios.calls import (
    Call,
    Captured,
    DuringRun,
    Ioctl,
    MapPayload,
    OpenKvm,
    Output,
    RunGuest,
    SharePayload,
    Spawn,
)
from kvmprobe.scenarios.ops import registry
from kvmprobe.scenarios.ops.cpuid import READ_BACK

_ROOM = {
    "descriptor": limits.MOST_DESCRIPTORS,
    "output": limits.MOST_CAPTURES,
    "memory": limits.MOST_MEMORIES,
    "task": limits.MOST_TASKS,
}


_BINDERS = {
    "descriptor": "open-kvm, create-vm or create-vcpu",
    "memory": "map-payload",
    "task": "spawn-task",
    "output": "save-vcpu",
}


def _binder(kind: str, name: str) -> str:
    if name == READ_BACK:
        return "get-cpuid2 with room for 256 entries"
    keepers = (op.name for op in registry().values() if op.keeps == name and kind == "output")
    return next(keepers, _BINDERS[kind])


class Unkept(ScenarioError):
    """An op writes back an output that no op before it has kept.

    :ivar name: of the output
    """

    def __init__(self, message: str, name: str) -> None:
        super().__init__(message)
        self.name = name


class References:
    """The names that a scenario's calls have bound so far."""

    def __init__(self) -> None:
        self._bound: dict[str, set[str]] = {kind: set() for kind in _ROOM}

    def copy(self) -> References:
        """Return the same names, to bind others to them."""
        other = References()
        other._bound = {kind: set(names) for kind, names in self._bound.items()}
        return other

    def check(self, call: Call) -> None:
        """Check the names that a call refers to.

        :raises ScenarioError: nothing before it has bound that name
        """
        self._check("descriptor", getattr(call, "on", ""))
        self._check("task", getattr(call, "by", ""))
        if isinstance(call, SharePayload | RunGuest | DuringRun):
            self._check("memory", call.memory)
        argument = getattr(call, "argument", None)
        if isinstance(argument, Captured):
            self._check("output", argument.name)

    def bind(self, call: Call) -> None:
        """Bind the names that a call binds if it succeeds.

        :raises ScenarioError: there are too many names
        """
        argument = getattr(call, "argument", None)
        if isinstance(call, Ioctl | OpenKvm):
            self._bind("descriptor", call.binds)
        if isinstance(call, MapPayload):
            self._bind("memory", call.binds)
        if isinstance(call, Spawn):
            self._bind("task", call.binds)
        if isinstance(argument, Output):
            self._bind("output", argument.capture)

    def _check(self, kind: str, name: str) -> None:
        if not name or name in self._bound[kind]:
            return
        message = f"no {kind} is called {name!r} here; {_binder(kind, name)} binds it"
        raise Unkept(message, name) if kind == "output" else ScenarioError(message)

    def _bind(self, kind: str, name: str) -> None:
        if name:
            self._bound[kind].add(name)
        if len(self._bound[kind]) > _ROOM[kind]:
            raise ScenarioError(f"more than {_ROOM[kind]} names of a {kind}")
