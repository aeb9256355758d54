"""What every op offers, and the registry of ops by name."""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod
from dataclasses import fields
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from kvmprobe.errors import ScenarioError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kvmprobe.model.host import HostProfile
    from kvmprobe.model.machine import Machine
    from kvmprobe.model.outcome import Step
    from kvmprobe.scenarios.calls import Call


class Op(ABC):
    """One thing a test does: lowered for the kernel, stepped by the model."""

    name: ClassVar[str]
    kernel_call: ClassVar[str]
    cites: ClassVar[tuple[str, ...]]
    errnos: ClassVar[Mapping[str, str]]
    output_fields: ClassVar[Mapping[str, tuple[int, str]]] = {}
    """Named values in the output: byte offset, and format as ``struct`` has it (no byte order)."""

    @abstractmethod
    def lower(self, host: HostProfile) -> Call:
        """Return the kernel call; images take their layout from ``host``."""

    @abstractmethod
    def step(self, machine: Machine) -> Step:
        """Return the model's transition and expectation."""

    @property
    def places(self) -> Mapping[str, tuple[int, str]]:
        """Where the output has its named values; those that ``read`` searches for have no place."""
        return self.output_fields

    def read(self, output: bytes, host: HostProfile) -> Mapping[str, int]:  # noqa: ARG002
        """Return the named values in the call's output: by default those that have a place."""
        return {
            name: struct.unpack_from(f"={code}", output, offset)[0]
            for name, (offset, code) in self.places.items()
        }

    @property
    def text(self) -> str:
        """The op in one line, as reports show it."""
        return self.kernel_call


_REGISTRY: dict[str, type[Op]] = {}
_O = TypeVar("_O", bound=type[Op])


def op(
    name: str, kernel_call: str, *cites: str, errnos: Mapping[str, str] | None = None
) -> Callable[[_O], _O]:
    """Register an op class; outermost, because ``dataclass(slots=True)`` makes a new class.

    :param kernel_call: symbolic name of what it asks the kernel
    :param cites: documentation or kernel sources that say what it does
    :param errnos: each errno that the model knows, with its meaning
    """

    def register(cls: _O) -> _O:
        if name in _REGISTRY:
            raise ScenarioError(f"two ops are named {name}")
        cls.name, cls.kernel_call, cls.cites = name, kernel_call, cites
        cls.errnos = errnos or {}
        _REGISTRY[name] = cls
        return cls

    return register


def registry() -> Mapping[str, type[Op]]:
    """Return all ops by name."""
    return dict(_REGISTRY)


def encode(op_value: Op) -> dict[str, Any]:
    """Return an op as JSON-ready data."""
    values = {f.name: getattr(op_value, f.name) for f in fields(op_value)}  # type: ignore[arg-type]
    return {"op": op_value.name, **values}


def decode(data: Mapping[str, Any]) -> Op:
    """Return the op that :func:`encode` wrote.

    :raises ScenarioError: unknown op, or fields that do not fit it
    """
    values = dict(data)
    name = values.pop("op", None)
    if name not in _REGISTRY:
        raise ScenarioError(f"unknown op {name!r}; known: {', '.join(sorted(_REGISTRY))}")
    try:
        return _REGISTRY[name](**values)
    except TypeError as error:
        raise ScenarioError(f"op {name}: {error}") from error
